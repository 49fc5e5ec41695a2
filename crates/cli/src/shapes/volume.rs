//! A volume, as `inspect` answers.

use super::LABELS;
use crate::template::shape::{
    Shape::{Any, Map, Str},
    StructShape,
};

/// `GET /volumes/{name}`.
pub(crate) static VOLUME: StructShape = StructShape {
    name: "volume.Volume",
    fields: &[
        ("CreatedAt", "", Str),
        ("Driver", "", Str),
        ("Labels", "", LABELS),
        ("Mountpoint", "", Str),
        ("Name", "", Str),
        ("Options", "", LABELS),
        ("Scope", "", Str),
        ("Status", "", Map(&Any)),
    ],
};
