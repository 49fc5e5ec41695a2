//! Go's text/template, as far as docker's `--format` uses it, which is nearly all of it: pipelines, variables,
//! `if`, `range`, `with`, `define`, `template`, `block`, the built-in functions and docker's own, and the wording of
//! its errors, which people see.
//!
//! A value is a tree ([`Value`]); what Go would find by reflection in a struct is laid down in shapes (module
//! [`shape`]), so that a field that is absent from an answer is told from one that does not exist.

mod exec;
mod funcs;
mod json;
mod lex;
mod parse;
mod print;
mod printf;
pub(crate) mod shape;
mod value;

#[cfg(test)]
mod tests;

pub(crate) use exec::{MissingKey, execute};
pub(crate) use json::Json;
pub(crate) use parse::{Template, parse};
pub(crate) use value::{Struct, Value};

/// Which functions a template may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Functions {
    /// Docker's.
    Values,
    /// Those for the headers of tables: most leave the header as it is.
    Headers,
}
