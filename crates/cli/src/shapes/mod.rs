//! The API's answers as Go's structs, for `--format` (see [`crate::template::shape`]).
//!
//! A field is (Go's name, JSON's name if it differs, shape).

pub(crate) mod container;
pub(crate) mod image;
pub(crate) mod network;
pub(crate) mod system;
pub(crate) mod volume;

use crate::template::shape::{Shape, StructShape};

const STRINGS: Shape = Shape::List(&Shape::Str);
const LABELS: Shape = Shape::Map(&Shape::Str);
/// A set: names without values.
const SET: Shape = Shape::Map(&Shape::Struct(&NOTHING));

static NOTHING: StructShape = StructShape { name: "struct {}", fields: &[] };
