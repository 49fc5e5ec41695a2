//! Values as Go's `fmt.Print` writes them.

use std::fmt::Write;

use super::Value;
use crate::number;

/// Appends a value as `{{value}}` and `%v` show it.
pub(super) fn print(value: &Value, out: &mut String) {
    write_value(value, 0, out);
}

fn write_value(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Missing if depth == 0 => out.push_str("<no value>"),
        Value::Missing | Value::Nil => out.push_str("<nil>"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Uint(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Float(value) => out.push_str(&number::shortest(*value)),
        Value::Str(text) => out.push_str(text),
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(' ');
                }
                write_value(item, depth + 1, out);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push_str("map[");
            for (i, (key, item)) in map.entries.iter().enumerate() {
                if i > 0 {
                    out.push(' ');
                }
                out.push_str(key);
                out.push(':');
                write_value(item, depth + 1, out);
            }
            out.push(']');
        }
        Value::Struct(value) => {
            out.push('{');
            let shown = value.fields.iter().filter(|(_, v)| !matches!(v, Value::Lookup(_)));
            for (i, (_, item)) in shown.enumerate() {
                if i > 0 {
                    out.push(' ');
                }
                write_value(item, depth + 1, out);
            }
            out.push('}');
        }
        Value::Lookup(_) | Value::LabelHeader => out.push_str("<func>"),
    }
}
