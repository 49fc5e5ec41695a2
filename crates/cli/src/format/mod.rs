//! Values as people read them: sizes, times, tables.

pub(crate) mod json;
pub(crate) mod natural;
pub(crate) mod size;
pub(crate) mod table;
pub(crate) mod time;
