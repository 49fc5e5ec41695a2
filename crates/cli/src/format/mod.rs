//! Values as people read them: sizes, times, tables.

pub(crate) mod number;
pub(crate) mod size;
