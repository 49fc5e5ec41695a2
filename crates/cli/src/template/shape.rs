//! The shapes of the API's answers as Go knows them: which fields a struct has, whether or not an answer mentions
//! them, and what stands in a field that it does not mention.

use std::rc::Rc;

use crate::{format::time, grammar::format_duration};
use skiff_go::template::{Json, Map, Struct, Value};

/// The shape of a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    Str,
    Int,
    Bool,
    /// RFC 3339 in JSON; printed as Go prints a time.
    Time,
    /// Nanoseconds; printed as Go prints a duration.
    Duration,
    /// Anything: an `interface{}`.
    Any,
    List(&'static Shape),
    Map(&'static Shape),
    Struct(&'static StructShape),
    /// A pointer, nil if absent.
    Pointer(&'static Shape),
}

/// The shape of a struct.
#[derive(Debug)]
pub(crate) struct StructShape {
    /// Its type, as errors name it.
    pub(crate) name: &'static str,
    /// Go's name, JSON's name if another, and the shape of each field.
    pub(crate) fields: &'static [(&'static str, &'static str, Shape)],
}

impl Shape {
    /// A value of this shape out of JSON, or `None` if it does not fit.
    pub(crate) fn value(self, json: Option<&Json>) -> Option<Value> {
        let Some(json) = json.filter(|json| **json != Json::Null) else { return Some(self.zero()) };
        Some(match (self, json) {
            (Self::Any, json) => Value::untyped(json),
            (Self::Str, Json::Str(text)) => Value::text(text),
            (Self::Bool, Json::Bool(value)) => Value::Bool(*value),
            (Self::Int, Json::Int(value)) => Value::Int(*value),
            (Self::Int, Json::Uint(value)) => Value::Uint(*value),
            (Self::Time, Json::Str(text)) => Value::text(time::go_time(text)),
            (Self::Duration, Json::Int(nanos)) => Value::text(format_duration(*nanos)),
            (Self::List(of), Json::List(items)) => {
                Value::list(items.iter().map(|item| of.value(Some(item))).collect::<Option<_>>()?)
            }
            (Self::Map(of), Json::Object(entries)) => {
                let mut values = Vec::with_capacity(entries.len());
                for (key, item) in entries {
                    values.push((key.clone(), of.value(Some(item))?));
                }
                values.sort_by(|a, b| a.0.cmp(&b.0));
                Value::Map(Rc::new(Map { entries: values, zero: of.zero(), source: Some(json.clone()) }))
            }
            (Self::Struct(shape), Json::Object(_)) => shape.build(Some(json), false)?,
            (Self::Pointer(Self::Struct(shape)), Json::Object(_)) => shape.build(Some(json), true)?,
            (Self::Pointer(of), json) => of.value(Some(json))?,
            _ => return None,
        })
    }

    /// What Go has in a field that nobody set.
    fn zero(self) -> Value {
        match self {
            Self::Str => Value::text(""),
            Self::Time => Value::text("0001-01-01 00:00:00 +0000 UTC"),
            Self::Duration => Value::text("0s"),
            Self::Int => Value::Int(0),
            Self::Bool => Value::Bool(false),
            Self::Any => Value::Missing,
            Self::List(_) => Value::list(Vec::new()),
            Self::Map(of) => {
                let source = Some(Json::Null);
                Value::Map(Rc::new(Map { entries: Vec::new(), zero: of.zero_of_entry(), source }))
            }
            Self::Struct(shape) => shape.build(None, false).unwrap_or_default(),
            Self::Pointer(_) => Value::Nil,
        }
    }

    /// As [`Self::zero`], without going on for ever.
    fn zero_of_entry(self) -> Value {
        match self {
            Self::Struct(_) | Self::Map(_) => Value::Missing,
            other => other.zero(),
        }
    }
}

impl StructShape {
    fn build(&'static self, json: Option<&Json>, pointer: bool) -> Option<Value> {
        let mut fields = Vec::with_capacity(self.fields.len());
        for (name, key, shape) in self.fields {
            let key = if key.is_empty() { name } else { key };
            fields.push((*name, shape.value(json.and_then(|json| json.get(key)))?));
        }
        Some(Value::Struct(Rc::new(Struct {
            type_name: self.name,
            pointer,
            is_row: false,
            fields,
            source: json.cloned(),
        })))
    }

    /// A value of this shape out of an answer, or `None` if it does not fit.
    pub(crate) fn value(&'static self, json: &Json) -> Option<Value> {
        match json {
            Json::Object(_) => self.build(Some(json), false),
            _ => None,
        }
    }
}
