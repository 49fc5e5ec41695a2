//! Mounts.

use skiff_api::model as wire;
use skiff_engine::model::{BindOptions, MountKind, MountPoint, MountSpec, TmpfsOptions, VolumeOptions};

use super::{some_list, some_map};

pub(super) fn asked(mount: wire::Mount) -> MountSpec {
    MountSpec {
        kind: mount.r#type,
        source: mount.source,
        target: mount.target,
        read_only: mount.read_only,
        consistency: mount.consistency,
        bind: mount.bind_options.map(|bind| BindOptions {
            propagation: bind.propagation,
            non_recursive: bind.non_recursive,
            create_mountpoint: bind.create_mountpoint,
            read_only_non_recursive: bind.read_only_non_recursive,
            read_only_force_recursive: bind.read_only_force_recursive,
        }),
        volume: mount.volume_options.map(|volume| {
            let driver = volume.driver_config.unwrap_or_default();
            VolumeOptions {
                no_copy: volume.no_copy,
                labels: volume.labels.unwrap_or_default(),
                subpath: volume.subpath,
                driver: driver.name,
                driver_options: driver.options.unwrap_or_default(),
            }
        }),
        tmpfs: mount.tmpfs_options.map(|tmpfs| TmpfsOptions {
            size_bytes: tmpfs.size_bytes,
            mode: tmpfs.mode,
            options: tmpfs.options.unwrap_or_default(),
        }),
        image_subpath: mount.image_options.map(|image| image.subpath),
    }
}

pub(super) fn shown(mount: MountSpec) -> wire::Mount {
    let driver = |volume: &VolumeOptions| {
        let named = !volume.driver.is_empty() || !volume.driver_options.is_empty();
        named.then(|| wire::MountDriver {
            name: volume.driver.clone(),
            options: some_map(volume.driver_options.clone()),
        })
    };
    wire::Mount {
        r#type: mount.kind,
        source: mount.source,
        target: mount.target,
        read_only: mount.read_only,
        consistency: mount.consistency,
        bind_options: mount.bind.map(|bind| wire::BindOptions {
            propagation: bind.propagation,
            non_recursive: bind.non_recursive,
            create_mountpoint: bind.create_mountpoint,
            read_only_non_recursive: bind.read_only_non_recursive,
            read_only_force_recursive: bind.read_only_force_recursive,
        }),
        volume_options: mount.volume.map(|volume| wire::VolumeOptions {
            driver_config: driver(&volume),
            no_copy: volume.no_copy,
            labels: some_map(volume.labels),
            subpath: volume.subpath,
        }),
        image_options: mount.image_subpath.map(|subpath| wire::ImageOptions { subpath }),
        tmpfs_options: mount.tmpfs.map(|tmpfs| wire::TmpfsOptions {
            size_bytes: tmpfs.size_bytes,
            mode: tmpfs.mode,
            options: some_list(tmpfs.options),
        }),
    }
}

/// A mount as it is. Lists do not show where a volume lies on the host.
pub(super) fn point(point: MountPoint, in_list: bool) -> wire::MountPoint {
    let kind = match point.kind {
        MountKind::Bind => "bind",
        MountKind::Volume => "volume",
        MountKind::Tmpfs => "tmpfs",
        MountKind::Image => "image",
        MountKind::Npipe => "npipe",
        MountKind::Cluster => "cluster",
    };
    let hidden = in_list && point.kind == MountKind::Volume;
    wire::MountPoint {
        r#type: kind.to_owned(),
        name: point.name,
        source: if hidden { String::new() } else { point.source },
        destination: point.destination,
        driver: point.driver,
        mode: point.mode,
        rw: point.rw,
        propagation: point.propagation,
    }
}
