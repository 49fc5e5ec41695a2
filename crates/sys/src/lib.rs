//! The only unsafe code: system calls that rustix does not offer, wrapped safely.
