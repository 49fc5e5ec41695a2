//! Go's templates, over the API's answers.
//!
//! What Go would find by reflection in a struct is laid down in shapes (module [`shape`]), so that a field that is absent from an
//! answer is told from one that does not exist.

pub(crate) mod shape;

pub(crate) use skiff_go::template::{Functions, Json, MissingKey, Struct, Template, Value, execute, parse};
