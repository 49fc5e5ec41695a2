//! The functions of templates: Go's and docker's.

use std::cmp::Ordering;

use super::{Functions, Value, exec::strings, print, printf};

/// Why a function gave nothing.
pub(super) enum Fault {
    /// The function says so.
    Said(String),
    /// It cannot take so many arguments.
    Arguments(String),
    /// It cannot take an argument of this type.
    Type { message: String, got: String },
}

impl Fault {
    /// In Go's words.
    pub(super) fn describe(&self, name: &str) -> String {
        match self {
            Self::Said(message) => format!("error calling {name}: {message}"),
            Self::Arguments(message) | Self::Type { message, .. } => message.clone(),
        }
    }
}

type Called = Result<Value, Fault>;

const BUILT_IN: [&str; 18] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "print",
    "printf", "println", "slice",
];
const DOCKERS: [&str; 9] =
    ["json", "split", "join", "title", "lower", "upper", "pad", "truncate", "urlquery"];

/// Whether a template may use this name.
pub(super) fn exists(name: &str, _: Functions) -> bool {
    BUILT_IN.contains(&name) || DOCKERS.contains(&name)
}

/// Calls a function.
pub(super) fn call(name: &str, arguments: &[Value], functions: Functions) -> Called {
    if functions == Functions::Headers
        && let Some(header) = header(name, arguments)
    {
        return Ok(header);
    }
    match (name, arguments) {
        ("and" | "or", [.., last]) => Ok(last.clone()),
        ("not", [value]) => Ok(Value::Bool(!value.is_true())),
        ("len", [value]) => length(value),
        ("index", [value, keys @ ..]) => keys.iter().try_fold(value.clone(), |value, key| index(&value, key)),
        ("slice", [value, bounds @ ..]) => slice(value, bounds),
        ("eq", [first, others @ ..]) if !others.is_empty() => {
            for other in others {
                if equal(first, other)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        ("eq", _) => Err(Fault::Said("missing argument for comparison".to_owned())),
        ("ne", [a, b]) => Ok(Value::Bool(!equal(a, b)?)),
        ("lt", [a, b]) => Ok(Value::Bool(compare(a, b)?.is_lt())),
        ("le", [a, b]) => Ok(Value::Bool(compare(a, b)?.is_le())),
        ("gt", [a, b]) => Ok(Value::Bool(compare(a, b)?.is_gt())),
        ("ge", [a, b]) => Ok(Value::Bool(compare(a, b)?.is_ge())),
        ("print", values) => Ok(Value::Str(print_all(values, false))),
        ("println", values) => Ok(Value::Str(print_all(values, true) + "\n")),
        ("printf", [format, values @ ..]) => Ok(Value::Str(printf::printf(text(format)?, values))),
        ("html", values) => Ok(Value::Str(escape_html(&print_all(values, false)))),
        ("js", values) => Ok(Value::Str(escape_js(&print_all(values, false)))),
        ("urlquery", values) => Ok(Value::Str(escape_url(&print_all(values, false)))),
        ("json", [value]) => {
            let mut out = String::new();
            // A row of a list writes its JSON itself, in Go's default way.
            let html = matches!(value, Value::Struct(value) if value.is_row);
            value.to_json().write(html, &mut out);
            Ok(Value::Str(out))
        }
        ("split", [value, separator]) => split(text(value)?, text(separator)?),
        ("join", [Value::List(items), separator]) => {
            let separator = text(separator)?;
            let items: Result<Vec<&str>, Fault> = items.iter().map(text).collect();
            Ok(Value::Str(items?.join(separator)))
        }
        ("join", [other, _]) => Err(wrong_type("[]string", other)),
        ("title", [value]) => Ok(Value::Str(title(text(value)?))),
        ("lower", [value]) => Ok(Value::Str(text(value)?.to_lowercase())),
        ("upper", [value]) => Ok(Value::Str(text(value)?.to_uppercase())),
        ("pad", [value, before, after]) => {
            let (value, before, after) = (text(value)?, whole(before)?, whole(after)?);
            let blanks = |n: i64| " ".repeat(usize::try_from(n).unwrap_or_default());
            Ok(Value::Str(match value {
                "" => String::new(),
                value => format!("{}{value}{}", blanks(before), blanks(after)),
            }))
        }
        ("truncate", [value, length]) => {
            let (value, length) = (text(value)?, whole(length)?);
            let end = usize::try_from(length).unwrap_or_default().min(value.len());
            Ok(Value::Str(String::from_utf8_lossy(&value.as_bytes()[..end]).into_owned()))
        }
        (name, given) => Err(Fault::Arguments(count(name, given.len()))),
    }
}

/// In the header of a table most functions leave the name of the column as it is.
fn header(name: &str, arguments: &[Value]) -> Option<Value> {
    let kept = matches!(name, "json" | "split" | "join" | "title" | "lower" | "upper" | "truncate");
    // The first argument, except for `join` and its like in a pipe, where the text comes last.
    let shown = arguments.iter().find(|a| matches!(a, Value::Str(_)))?;
    kept.then(|| shown.clone())
}

fn count(name: &str, given: usize) -> String {
    let (least, variadic) = match name {
        "and" | "or" | "eq" | "printf" | "index" | "slice" | "call" => (1, true),
        "ne" | "lt" | "le" | "gt" | "ge" | "split" | "join" | "truncate" => (2, false),
        "pad" => (3, false),
        _ => (1, false),
    };
    match variadic {
        true => format!("wrong number of args for {name}: want at least {least} got {given}"),
        false => format!("wrong number of args for {name}: want {least} got {given}"),
    }
}

fn wrong_type(expected: &str, value: &Value) -> Fault {
    let got = value.type_name();
    let message = match value {
        Value::Missing => format!("invalid value; expected {expected}"),
        _ => format!("wrong type for value; expected {expected}; got {got}"),
    };
    Fault::Type { message, got }
}

fn text(value: &Value) -> Result<&str, Fault> {
    match value {
        Value::Str(text) => Ok(text),
        other => Err(wrong_type("string", other)),
    }
}

fn whole(value: &Value) -> Result<i64, Fault> {
    match value {
        Value::Int(value) => Ok(*value),
        other => Err(wrong_type("int", other)),
    }
}

fn length(value: &Value) -> Called {
    let length = match value {
        Value::Str(text) => text.len(),
        Value::List(items) => items.len(),
        Value::Map(map) => map.entries.len(),
        Value::Missing | Value::Nil => return Err(Fault::Said("len of nil pointer".to_owned())),
        other => return Err(Fault::Said(format!("len of type {}", other.type_name()))),
    };
    Ok(Value::Int(length as i64))
}

fn index(value: &Value, key: &Value) -> Called {
    match (value, key) {
        (Value::Map(map), Value::Str(key)) => {
            Ok(match map.entries.binary_search_by(|(k, _)| k.as_str().cmp(key)) {
                Ok(at) => map.entries[at].1.clone(),
                Err(_) => map.zero.clone(),
            })
        }
        (Value::Map(_), other) => {
            Err(Fault::Said(format!("value has type {}; should be string", other.type_name())))
        }
        (Value::List(items), Value::Int(at)) => usize::try_from(*at)
            .ok()
            .and_then(|at| items.get(at).cloned())
            .ok_or_else(|| Fault::Said(format!("index out of range: {at}"))),
        (Value::Str(text), Value::Int(at)) => usize::try_from(*at)
            .ok()
            .and_then(|at| text.as_bytes().get(at))
            .map(|byte| Value::Uint(u64::from(*byte)))
            .ok_or_else(|| Fault::Said(format!("index out of range: {at}"))),
        (Value::List(_) | Value::Str(_), other) => {
            Err(Fault::Said(format!("cannot index slice/array with type {}", other.type_name())))
        }
        (Value::Missing | Value::Nil, _) => Err(Fault::Said("index of untyped nil".to_owned())),
        (other, _) => Err(Fault::Said(format!("can't index item of type {}", other.type_name()))),
    }
}

fn slice(value: &Value, bounds: &[Value]) -> Called {
    let length = match value {
        Value::Str(text) => text.len(),
        Value::List(items) => items.len(),
        other => return Err(Fault::Said(format!("can't slice item of type {}", other.type_name()))),
    };
    let mut ends = [0, length];
    for (end, bound) in ends.iter_mut().zip(bounds) {
        let bound = whole(bound)?;
        *end = usize::try_from(bound)
            .ok()
            .filter(|b| *b <= length)
            .ok_or_else(|| Fault::Said(format!("index out of range: {bound}")))?;
    }
    let [start, end] = ends;
    if start > end {
        return Err(Fault::Said(format!("invalid slice index: {start} > {end}")));
    }
    Ok(match value {
        Value::List(items) => Value::list(items[start..end].to_vec()),
        Value::Str(text) => Value::Str(String::from_utf8_lossy(&text.as_bytes()[start..end]).into_owned()),
        other => other.clone(),
    })
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(value) => Some(*value as f64),
        Value::Uint(value) => Some(*value as f64),
        _ => None,
    }
}

fn incompatible(a: &Value, b: &Value) -> Fault {
    Fault::Said(format!("incompatible types for comparison: {} and {}", a.type_name(), b.type_name()))
}

fn equal(a: &Value, b: &Value) -> Result<bool, Fault> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Str(a), Value::Str(b)) => Ok(a == b),
        (Value::Float(a), Value::Float(b)) => Ok(a == b),
        (Value::Int(a), Value::Int(b)) => Ok(a == b),
        (Value::Missing | Value::Nil, other) | (other, Value::Missing | Value::Nil) => {
            Ok(matches!(other, Value::Missing | Value::Nil))
        }
        (Value::List(_) | Value::Map(_), _) | (_, Value::List(_) | Value::Map(_)) => {
            Err(Fault::Said("non-comparable type".to_owned()))
        }
        (a, b) => match (number(a), number(b)) {
            (Some(a), Some(b)) => Ok(a == b),
            _ => Err(incompatible(a, b)),
        },
    }
}

fn compare(a: &Value, b: &Value) -> Result<Ordering, Fault> {
    let order = match (a, b) {
        (Value::Str(a), Value::Str(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (a, b) => number(a).zip(number(b)).and_then(|(a, b)| a.partial_cmp(&b)),
    };
    order.ok_or_else(|| incompatible(a, b))
}

/// As `fmt.Sprint`: a blank between two that are not texts. As `fmt.Sprintln`: between any two.
fn print_all(values: &[Value], always: bool) -> String {
    let mut out = String::new();
    for (i, value) in values.iter().enumerate() {
        let texts = |i: usize| matches!(values.get(i), Some(Value::Str(_)));
        if i > 0 && (always || (!texts(i - 1) && !texts(i))) {
            out.push(' ');
        }
        match value {
            Value::Missing => out.push_str("<nil>"),
            value => print::print(value, &mut out),
        }
    }
    out
}

fn split(value: &str, separator: &str) -> Called {
    Ok(match separator {
        "" => strings(value.chars().map(String::from)),
        _ => strings(value.split(separator).map(str::to_owned)),
    })
}

fn title(text: &str) -> String {
    let mut before = ' ';
    text.chars()
        .map(|c| {
            let begins = !before.is_alphanumeric() && before != '_' && before != '\'';
            before = c;
            if begins { c.to_uppercase().next().unwrap_or(c) } else { c }
        })
        .collect()
}

fn escape_html(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\0' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn escape_js(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", c as u32)),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out
}

fn escape_url(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
