//! Snapshots of file systems: the Snapshotter trait, its drivers, tar apply and diff.
