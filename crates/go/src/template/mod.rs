//! Go's text/template, as far as docker's `--format` uses it, which is nearly all of it: pipelines, variables,
//! `if`, `range`, `with`, `define`, `template`, `block`, the built-in functions and docker's own, and the wording of
//! its errors, which people see.
//!
//! A value is a tree ([`Value`]); what Go would find by reflection in a struct is laid down in it by whoever makes it.

mod exec;
mod funcs;
mod json;
mod lex;
mod parse;
mod print;
mod printf;
mod value;

#[cfg(test)]
mod tests;

pub use exec::{MissingKey, execute};
pub use json::Json;
pub use parse::{Template, parse};
pub use value::{Map, Struct, Value};

/// Which functions a template may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Functions {
    /// Docker's.
    Values,
    /// Those for the headers of tables: most leave the header as it is.
    Headers,
}

/// Renders `text` with docker's functions, as a template of this name.
///
/// # Errors
/// In Go's words: `template: name:1:2: executing "name" at <.X>: …`.
pub fn render(name: &str, text: &str, dot: &Value) -> Result<String, String> {
    let template = parse(text, Functions::Values);
    let rendered = template.and_then(|t| execute(&t, dot, Functions::Values, MissingKey::NoValue));
    rendered.map_err(|error| {
        let executing = format!("executing \"{name}\"");
        error.replacen("template: :", &format!("template: {name}:"), 1).replacen(
            "executing \"\"",
            &executing,
            1,
        )
    })
}
