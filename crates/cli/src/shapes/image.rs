//! An image, as `inspect` answers.

use super::{LABELS, SET, STRINGS, container::GRAPH_DRIVER};
use crate::template::shape::{
    Shape::{self, Any, Int, List, Pointer, Str, Struct},
    StructShape,
};

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
