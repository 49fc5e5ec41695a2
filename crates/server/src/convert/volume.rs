//! Volumes.

use skiff_api::model as wire;
use skiff_engine::model::{VolumeUsage, VolumeView};

/// A volume with what it takes and how many containers have it.
pub(crate) fn measured((volume, usage): (VolumeView, VolumeUsage)) -> wire::Volume {
    let usage =
        wire::VolumeUsage { ref_count: usage.containers as i64, size: usage.bytes as i64, last_used: 0 };
    wire::Volume { usage_data: Some(usage), ..shown(volume) }
}

pub(crate) fn shown(volume: VolumeView) -> wire::Volume {
    wire::Volume {
        created_at: volume.created_at,
        driver: volume.record.driver,
        labels: volume.record.labels,
        mountpoint: volume.mountpoint,
        name: volume.record.name,
        options: volume.record.options,
        scope: volume.scope.to_owned(),
        status: (!volume.status.is_empty()).then_some(volume.status),
        usage_data: None,
    }
}
