//! JSON as Go's decoder reads it, which is what every client of Docker relies on: keys match whatever their case,
//! unknown keys are ignored, `null` stands for the empty value of any type, arrays of fixed length are padded or cut,
//! bytes that are not UTF-8 are replaced. Types only need `#[serde(default)]`; `#[serde(flatten)]` does not work, as it
//! hides a type's keys.

use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};
use serde_json::{Map, Number, Value};

use crate::syntax;

/// Why a body could not be read, in the words of Go's `encoding/json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Nothing but white space.
    Empty,
    /// Not JSON.
    Syntax(String),
    /// A second value, or anything else, after the first.
    Trailing,
    /// A value of another type than its field has.
    Type {
        /// The outermost struct's name, without its package.
        root: String,
        /// The field, from the innermost outwards.
        path: Vec<String>,
        /// What was there, such as `string` or `number 1.5`.
        found: String,
        /// Go's name of the type that was wanted.
        wanted: String,
    },
    /// A value that its type refuses.
    Value(String),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("EOF"),
            Self::Syntax(message) | Self::Value(message) => f.write_str(message),
            Self::Trailing => f.write_str("unexpected content after JSON"),
            Self::Type { path, found, wanted, .. } if path.is_empty() => {
                write!(f, "json: cannot unmarshal {found} into Go value of type {wanted}")
            }
            Self::Type { root, path, found, wanted } => {
                write!(f, "json: cannot unmarshal {found} into ")?;
                // Inside a list Go has forgotten that it came from a struct.
                if path[0].parse::<usize>().is_err() {
                    f.write_str("Go struct field ")?;
                }
                f.write_str(root)?;
                path.iter().rev().try_for_each(|name| write!(f, ".{name}"))?;
                write!(f, " of type {wanted}")
            }
        }
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Value(message.to_string())
    }
}

impl DecodeError {
    /// The same error, one level further out.
    fn within(mut self, name: &str) -> Self {
        if let Self::Type { path, .. } = &mut self {
            path.push(name.to_owned());
        }
        self
    }

    /// The same error, in a struct.
    fn of(mut self, name: &str) -> Self {
        if let Self::Type { root, path, .. } = &mut self
            && !path.is_empty()
        {
            let name = name.rsplit('.').next().unwrap_or(name);
            // Go embeds the configuration, and names what is embedded by nothing.
            *root = if matches!(name, "CreateRequest" | "Config") { String::new() } else { name.to_owned() };
        }
        self
    }
}

/// Reads a body that holds one value.
///
/// # Errors
/// What Go would refuse too.
pub fn from_slice<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    from_value(value(body)?)
}

/// Reads a body that holds one value, to be looked at as several types.
///
/// # Errors
/// What is not JSON.
pub fn value(body: &[u8]) -> Result<Value, DecodeError> {
    let text = String::from_utf8_lossy(body);
    match serde_json::from_str(&text) {
        Ok(value) => Ok(value),
        Err(error) => Err(syntax::explain(&text).unwrap_or_else(|| DecodeError::Syntax(error.to_string()))),
    }
}

/// Reads a value that is already parsed.
///
/// # Errors
/// A value of another type than its field has.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, DecodeError> {
    T::deserialize(Lenient(value))
}

struct Lenient(Value);

impl Lenient {
    fn mismatch(&self, wanted: &str) -> DecodeError {
        let found = match &self.0 {
            Value::Null => "null".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Number(n) if wanted.contains("int") && !wanted.contains('[') => format!("number {n}"),
            Value::Number(_) => "number".to_owned(),
            Value::String(_) => "string".to_owned(),
            Value::Array(_) => "array".to_owned(),
            Value::Object(_) => "object".to_owned(),
        };
        DecodeError::Type { root: String::new(), path: Vec::new(), found, wanted: wanted.to_owned() }
    }
}

macro_rules! integers {
    ($($method:ident $type:ty, $visit:ident, $get:ident, $go:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            let fits = |n: &Number| n.$get().and_then(|n| <$type>::try_from(n).ok());
            match &self.0 {
                Value::Null => visitor.$visit(0),
                Value::Number(n) => match fits(n) {
                    Some(n) => visitor.$visit(n),
                    None => Err(self.mismatch($go)),
                },
                _ => Err(self.mismatch($go)),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Lenient {
    type Error = DecodeError;

    integers! {
        deserialize_i8 i8, visit_i8, as_i64, "int8";
        deserialize_i16 i16, visit_i16, as_i64, "int16";
        deserialize_i32 i32, visit_i32, as_i64, "int32";
        deserialize_i64 i64, visit_i64, as_i64, "int64";
        deserialize_u8 u8, visit_u8, as_u64, "uint8";
        deserialize_u16 u16, visit_u16, as_u64, "uint16";
        deserialize_u32 u32, visit_u32, as_u64, "uint";
        deserialize_u64 u64, visit_u64, as_u64, "uint64";
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.0 {
            Value::Null => visitor.visit_f64(0.0),
            Value::Number(n) => visitor.visit_f64(n.as_f64().unwrap_or_default()),
            _ => Err(self.mismatch("float64")),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Null => visitor.visit_bool(false),
            Value::Bool(b) => visitor.visit_bool(b),
            _ => Err(self.mismatch("bool")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Null => visitor.visit_str(""),
            Value::String(s) => visitor.visit_string(s),
            _ => Err(self.mismatch("string")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Null => visitor.visit_seq(Items::new(Vec::new())),
            Value::Array(items) => visitor.visit_seq(Items::new(items)),
            _ => Err(self.mismatch("[]string")),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        let mut items = match self.0 {
            Value::Null => Vec::new(),
            Value::Array(items) => items,
            _ => return Err(self.mismatch(&format!("[{len}]uint"))),
        };
        items.resize(len, Value::Null);
        visitor.visit_seq(Items::new(items))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Null => visitor.visit_map(Entries::new(Map::new())),
            Value::Object(entries) => visitor.visit_map(Entries::new(entries)),
            _ => Err(self.mismatch("map[string]string")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Null => visitor.visit_map(Entries::new(Map::new())),
            Value::Object(entries) => {
                visitor.visit_map(Entries::new(known(entries, fields))).map_err(|e| e.of(name))
            }
            _ => Err(self.mismatch(name)),
        }
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(b),
            Value::Number(n) => match (n.as_u64(), n.as_i64(), n.as_f64()) {
                (Some(n), _, _) => visitor.visit_u64(n),
                (_, Some(n), _) => visitor.visit_i64(n),
                (_, _, n) => visitor.visit_f64(n.unwrap_or_default()),
            },
            Value::String(s) => visitor.visit_string(s),
            Value::Array(items) => visitor.visit_seq(Items::new(items)),
            Value::Object(entries) => visitor.visit_map(Entries::new(entries)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple_struct enum identifier
    }
}

/// The entries that `fields` names, under the field's own spelling. An exact key wins over one in another case.
fn known(entries: Map<String, Value>, fields: &[&str]) -> Map<String, Value> {
    let mut out = Map::new();
    for (key, value) in entries {
        if fields.contains(&key.as_str()) {
            out.insert(key, value);
        } else if let Some(field) = fields.iter().find(|f| f.eq_ignore_ascii_case(&key)) {
            out.entry(*field).or_insert(value);
        }
    }
    out
}

struct Items {
    items: std::vec::IntoIter<Value>,
    at: usize,
}

impl Items {
    fn new(items: Vec<Value>) -> Self {
        Self { items: items.into_iter(), at: 0 }
    }
}

impl<'de> de::SeqAccess<'de> for Items {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some(value) = self.items.next() else { return Ok(None) };
        let at = self.at;
        self.at += 1;
        seed.deserialize(Lenient(value)).map(Some).map_err(|e| e.within(&at.to_string()))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Entries {
    entries: serde_json::map::IntoIter,
    current: Option<(String, Value)>,
}

impl Entries {
    fn new(entries: Map<String, Value>) -> Self {
        Self { entries: entries.into_iter(), current: None }
    }
}

impl<'de> de::MapAccess<'de> for Entries {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        self.current = self.entries.next();
        match &self.current {
            None => Ok(None),
            Some((key, _)) => seed.deserialize(key.as_str().into_deserializer()).map(Some),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        let (key, value) = self.current.take().expect("a value is asked for after its key");
        seed.deserialize(Lenient(value)).map_err(|e| e.within(&key))
    }
}

#[cfg(test)]
mod tests;
