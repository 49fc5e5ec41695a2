//! What templates compute with.

use std::rc::Rc;

use super::Json;

/// A value of Go's, as far as templates can tell.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// What is behind a key that a map does not have, or JSON's null: `<no value>`.
    #[default]
    Missing,
    /// A nil pointer: `<nil>`.
    Nil,
    /// A truth value.
    Bool(bool),
    /// An `int`.
    Int(i64),
    /// An unsigned number that an `int` cannot hold.
    Uint(u64),
    /// A number with a fraction.
    Float(f64),
    /// A text.
    Str(String),
    /// A slice.
    List(Rc<Vec<Value>>),
    /// A map.
    Map(Rc<Map>),
    /// A struct.
    Struct(Rc<Struct>),
    /// A method that looks its argument up: `.Label "key"`.
    Lookup(Rc<Vec<(String, String)>>),
    /// The same method of a table's header: `.Label "com.example.some-key"` is `some key`.
    LabelHeader,
}

/// A map. Go visits its keys in order, and so does this.
#[derive(Debug, Default)]
pub struct Map {
    /// Sorted by key.
    pub entries: Vec<(String, Value)>,
    /// What `index` gives for a key that is not there.
    pub zero: Value,
    /// What it was read from.
    pub source: Option<Json>,
}

/// A struct: its fields are all there are.
#[derive(Debug, Default)]
pub struct Struct {
    /// Its type, as errors name it.
    pub type_name: &'static str,
    /// Whether Go would hold a pointer to it.
    pub pointer: bool,
    /// Whether it is a row of a list, made for templates.
    pub is_row: bool,
    /// In the order of the declaration.
    pub fields: Vec<(&'static str, Value)>,
    /// What it was read from; `json` writes this.
    pub source: Option<Json>,
}

impl Value {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Str(text.into())
    }

    /// A list.
    pub fn list(items: Vec<Value>) -> Self {
        Self::List(Rc::new(items))
    }

    /// A map of these entries.
    pub fn map(mut entries: Vec<(String, Value)>) -> Self {
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Self::Map(Rc::new(Map { entries, zero: Self::Missing, source: None }))
    }

    /// Whatever JSON holds, as Go decodes it without a type.
    pub fn untyped(json: &Json) -> Self {
        match json {
            Json::Null => Self::Missing,
            Json::Bool(value) => Self::Bool(*value),
            Json::Int(value) => Self::Int(*value),
            Json::Uint(value) => Self::Uint(*value),
            Json::Float(value) => Self::Float(*value),
            Json::Str(text) => Self::Str(text.clone()),
            Json::List(items) => Self::list(items.iter().map(Self::untyped).collect()),
            Json::Object(entries) => {
                let mut entries: Vec<_> =
                    entries.iter().map(|(key, value)| (key.clone(), Self::untyped(value))).collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                Self::Map(Rc::new(Map { entries, zero: Self::Missing, source: Some(json.clone()) }))
            }
        }
    }

    /// Whether an `if` takes it for true.
    pub fn is_true(&self) -> bool {
        match self {
            Self::Missing | Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Uint(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Str(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(map) => !map.entries.is_empty(),
            Self::Struct(_) | Self::Lookup(_) | Self::LabelHeader => true,
        }
    }

    /// As [`Self::untyped`] where Go keeps numbers as the text they were sent as.
    pub fn raw(json: &Json) -> Self {
        match json {
            Json::Int(value) => Self::Str(value.to_string()),
            Json::Uint(value) => Self::Str(value.to_string()),
            Json::Float(value) => Self::Str(crate::number::shortest(*value)),
            Json::List(items) => Self::list(items.iter().map(Self::raw).collect()),
            Json::Object(entries) => {
                let mut entries: Vec<_> =
                    entries.iter().map(|(key, value)| (key.clone(), Self::raw(value))).collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                Self::Map(Rc::new(Map { entries, zero: Self::Missing, source: Some(json.clone()) }))
            }
            other => Self::untyped(other),
        }
    }

    /// Its type, as errors name it.
    pub fn type_name(&self) -> String {
        match self {
            Self::Missing | Self::Nil => "nil".to_owned(),
            Self::Bool(_) => "bool".to_owned(),
            Self::Int(_) => "int".to_owned(),
            Self::Uint(_) => "uint64".to_owned(),
            Self::Float(_) => "float64".to_owned(),
            Self::Str(_) => "string".to_owned(),
            Self::List(items) => match items.first() {
                Some(Self::Str(_)) => "[]string".to_owned(),
                Some(item) => format!("[]{}", item.type_name()),
                None => "[]interface {}".to_owned(),
            },
            Self::Map(map) => match map.zero {
                Self::Missing => "map[string]interface {}".to_owned(),
                ref zero => format!("map[string]{}", zero.type_name()),
            },
            Self::Struct(value) => match value.pointer {
                true => format!("*{}", value.type_name),
                false => value.type_name.to_owned(),
            },
            Self::Lookup(_) | Self::LabelHeader => "func".to_owned(),
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Missing | Self::Nil | Self::Lookup(_) | Self::LabelHeader => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Int(value) => Json::Int(*value),
            Self::Uint(value) => Json::Uint(*value),
            Self::Float(value) => Json::Float(*value),
            Self::Str(text) => Json::Str(text.clone()),
            Self::List(items) => Json::List(items.iter().map(Self::to_json).collect()),
            Self::Map(map) => match &map.source {
                Some(source) => source.clone(),
                None => Json::Object(map.entries.iter().map(|(k, v)| (k.clone(), v.to_json())).collect()),
            },
            Self::Struct(value) => match &value.source {
                Some(source) => source.clone(),
                None => {
                    let named = value.fields.iter().filter(|(_, v)| !matches!(v, Self::Lookup(_)));
                    Json::Object(named.map(|(k, v)| ((*k).to_owned(), v.to_json())).collect())
                }
            },
        }
    }
}
