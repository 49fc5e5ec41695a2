//! An image, as `inspect` answers.

use super::{LABELS, SET, STRINGS, container::GRAPH_DRIVER};
use crate::template::{
    Json,
    shape::{
        Shape::{self, Any, Int, List, Pointer, Str, Struct},
        StructShape,
    },
};

/// An answer as Go's struct writes it again: `Config` without what is empty, in the order of its declaration.
pub(crate) fn as_go(mut image: Json) -> Json {
    let Json::Object(fields) = &mut image else { return image };
    if let Some((_, config)) = fields.iter_mut().find(|(key, _)| key == "Config")
        && let Json::Object(entries) = config
    {
        entries.retain(|(_, value)| !value.is_empty());
        let place = |key: &str| IMAGE_CONFIG.fields.iter().position(|(name, ..)| *name == key);
        entries.sort_by_key(|(key, _)| place(key));
    }
    image
}

/// `GET /images/{name}/json`.
pub(crate) static IMAGE: StructShape = StructShape {
    name: "image.InspectResponse",
    fields: &[
        ("ID", "Id", Str),
        ("RepoTags", "", STRINGS),
        ("RepoDigests", "", STRINGS),
        ("Parent", "", Str),
        ("Comment", "", Str),
        ("Created", "", Str),
        ("DockerVersion", "", Str),
        ("Author", "", Str),
        ("Config", "", Pointer(&Struct(&IMAGE_CONFIG))),
        ("Architecture", "", Str),
        ("Variant", "", Str),
        ("Os", "", Str),
        ("OsVersion", "", Str),
        ("Size", "", Int),
        ("VirtualSize", "", Int),
        ("GraphDriver", "", Pointer(&Struct(&GRAPH_DRIVER))),
        ("RootFS", "", Struct(&ROOT_FS)),
        ("Metadata", "", Struct(&METADATA)),
        ("Descriptor", "", Pointer(&Any)),
        ("Manifests", "", List(&Any)),
    ],
};

static ROOT_FS: StructShape =
    StructShape { name: "image.RootFS", fields: &[("Type", "", Str), ("Layers", "", STRINGS)] };

static METADATA: StructShape =
    StructShape { name: "image.Metadata", fields: &[("LastTagTime", "", Shape::Time)] };

static IMAGE_CONFIG: StructShape = StructShape {
    name: "v1.DockerOCIImageConfig",
    fields: &[
        ("User", "", Str),
        ("ExposedPorts", "", SET),
        ("Env", "", STRINGS),
        ("Entrypoint", "", STRINGS),
        ("Cmd", "", STRINGS),
        ("Volumes", "", SET),
        ("WorkingDir", "", Str),
        ("Labels", "", LABELS),
        ("StopSignal", "", Str),
        ("ArgsEscaped", "", Shape::Bool),
        ("Healthcheck", "", Pointer(&Any)),
        ("OnBuild", "", STRINGS),
        ("Shell", "", STRINGS),
    ],
};
