//! Go's `fmt.Sprintf`.

use super::{Value, print};
use crate::{number, text::quote};

/// How a verb is to be written.
#[derive(Clone, Copy, Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    zero: bool,
    space: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Writes `values` as `format` says; mistakes show in the text, as they do in Go.
pub(super) fn printf(format: &str, values: &[Value]) -> String {
    let mut out = String::new();
    let mut values_left = values.iter();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let mut spec = Spec::default();
        rest = flags(rest, &mut spec);
        (spec.width, rest) = measure(rest, &mut values_left);
        if let Some(after) = rest.strip_prefix('.') {
            (spec.precision, rest) = measure(after, &mut values_left);
            spec.precision = spec.precision.or(Some(0));
        }
        let Some(verb) = rest.chars().next() else {
            out.push_str("%!(NOVERB)");
            return out;
        };
        rest = &rest[verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        match values_left.next() {
            Some(value) => out.push_str(&pad(&convert(verb, value, spec), spec)),
            None => out.push_str(&format!("%!{verb}(MISSING)")),
        }
    }
    out.push_str(rest);
    let extra: Vec<String> = values_left
        .map(|value| {
            let mut shown = String::new();
            print::print(value, &mut shown);
            format!("{}={shown}", value.type_name())
        })
        .collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

fn flags<'a>(mut text: &'a str, spec: &mut Spec) -> &'a str {
    while let Some(c) = text.chars().next() {
        match c {
            '-' => spec.minus = true,
            '+' => spec.plus = true,
            '#' => spec.sharp = true,
            '0' => spec.zero = true,
            ' ' => spec.space = true,
            _ => break,
        }
        text = &text[1..];
    }
    text
}

/// A width or precision: digits, or `*` for the next value.
fn measure<'a>(text: &'a str, values: &mut std::slice::Iter<'_, Value>) -> (Option<usize>, &'a str) {
    if let Some(after) = text.strip_prefix('*') {
        let width = match values.next() {
            Some(Value::Int(n)) => usize::try_from(*n).ok(),
            _ => None,
        };
        return (width, after);
    }
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    (text[..end].parse().ok(), &text[end..])
}

fn pad(text: &str, spec: Spec) -> String {
    let length = text.chars().count();
    let Some(missing) = spec.width.and_then(|width| width.checked_sub(length)) else {
        return text.to_owned();
    };
    if spec.minus {
        return format!("{text}{}", " ".repeat(missing));
    }
    if spec.zero && text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') {
        let (sign, digits) = match text.strip_prefix(['-', '+']) {
            Some(digits) => text.split_at(text.len() - digits.len()),
            None => ("", text),
        };
        return format!("{sign}{}{digits}", "0".repeat(missing));
    }
    format!("{}{text}", if spec.zero { "0" } else { " " }.repeat(missing))
}

fn convert(verb: char, value: &Value, spec: Spec) -> String {
    let bad = || {
        let mut shown = String::new();
        print::print(value, &mut shown);
        match value {
            Value::Missing | Value::Nil => format!("%!{verb}(<nil>)"),
            value => format!("%!{verb}({}={shown})", value.type_name()),
        }
    };
    if let Value::List(items) = value
        && !matches!(verb, 'v' | 'T' | 'p')
    {
        let items: Vec<String> = items.iter().map(|item| convert(verb, item, spec)).collect();
        return format!("[{}]", items.join(" "));
    }
    match (verb, value) {
        ('T', value) => value.type_name(),
        ('v', Value::Str(text)) if spec.sharp => quote(text),
        ('v', Value::Missing) => "<nil>".to_owned(),
        ('v', Value::Float(value)) => signed(number::shortest(*value), *value >= 0.0, spec),
        ('v', Value::Int(_)) | ('d', Value::Int(_) | Value::Uint(_)) => integer(value, spec),
        ('v', value) => {
            let mut out = String::new();
            print::print(value, &mut out);
            out
        }
        ('s', Value::Str(text)) => cut(text, spec),
        ('q', Value::Str(text)) => quote(&cut(text, spec)),
        ('q', Value::Int(value)) => {
            let c = u32::try_from(*value).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
            format!("'{c}'")
        }
        ('x', Value::Str(text)) => text.bytes().map(|b| format!("{b:02x}")).collect(),
        ('X', Value::Str(text)) => text.bytes().map(|b| format!("{b:02X}")).collect(),
        ('t', Value::Bool(value)) => value.to_string(),
        ('c', Value::Int(value)) => {
            u32::try_from(*value).ok().and_then(char::from_u32).map_or_else(bad, String::from)
        }
        ('x' | 'X' | 'o' | 'b', Value::Int(_) | Value::Uint(_)) => radix(verb, value, spec),
        ('f' | 'F', Value::Float(value)) => {
            signed(format!("{value:.*}", spec.precision.unwrap_or(6)), *value >= 0.0, spec)
        }
        ('e', Value::Float(value)) => {
            let text = format!("{value:.*e}", spec.precision.unwrap_or(6));
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let exponent: i32 = exponent.parse().unwrap_or_default();
            let sign = if exponent < 0 { '-' } else { '+' };
            signed(format!("{mantissa}e{sign}{:02}", exponent.abs()), *value >= 0.0, spec)
        }
        ('g', Value::Float(value)) => match spec.precision {
            Some(digits) => number::general(*value, digits),
            None => number::shortest(*value),
        },
        _ => bad(),
    }
}

fn cut(text: &str, spec: Spec) -> String {
    match spec.precision {
        Some(length) => text.chars().take(length).collect(),
        None => text.to_owned(),
    }
}

fn signed(text: String, positive: bool, spec: Spec) -> String {
    match positive {
        true if spec.plus => format!("+{text}"),
        true if spec.space => format!(" {text}"),
        _ => text,
    }
}

fn integer(value: &Value, spec: Spec) -> String {
    match value {
        Value::Int(value) => signed(value.to_string(), *value >= 0, spec),
        Value::Uint(value) => signed(value.to_string(), true, spec),
        _ => String::new(),
    }
}

fn radix(verb: char, value: &Value, spec: Spec) -> String {
    let (negative, magnitude) = match value {
        Value::Int(value) => (*value < 0, value.unsigned_abs()),
        Value::Uint(value) => (false, *value),
        _ => (false, 0),
    };
    let prefix = if spec.sharp { "0" } else { "" };
    let digits = match verb {
        'x' if spec.sharp => format!("0x{magnitude:x}"),
        'X' if spec.sharp => format!("0X{magnitude:X}"),
        'x' => format!("{magnitude:x}"),
        'X' => format!("{magnitude:X}"),
        'o' => format!("{prefix}{magnitude:o}"),
        _ => format!("{magnitude:b}"),
    };
    if negative { format!("-{digits}") } else { signed(digits, true, spec) }
}
