//! The `filters` query parameter: a JSON object of names, each with the set of values that were asked for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Filters by name. A name that is present always has at least one value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, BTreeSet<String>>);

/// The parameter is not an object of objects (or of lists, as very old clients send them).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid filter")]
pub struct ParseFiltersError;

impl Filters {
    /// No filters: everything matches.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads `{"label":{"a=b":true}}`, or `{"label":["a=b"]}`; nothing and `null` are no filters.
    ///
    /// # Errors
    /// What is of another form.
    pub fn parse(json: &str) -> Result<Self, ParseFiltersError> {
        if json.is_empty() {
            return Ok(Self::default());
        }
        let names = match serde_json::from_str(json).map_err(|_| ParseFiltersError)? {
            Value::Object(names) => names,
            Value::Null => return Ok(Self::default()),
            _ => return Err(ParseFiltersError),
        };
        let mut filters = Self::default();
        for (name, values) in names {
            match values {
                Value::Null => {}
                Value::Array(values) => {
                    for value in values {
                        filters.add(&name, value.as_str().ok_or(ParseFiltersError)?);
                    }
                }
                Value::Object(values) => {
                    for (value, wanted) in values {
                        if wanted.as_bool().ok_or(ParseFiltersError)? {
                            filters.add(&name, &value);
                        }
                    }
                }
                _ => return Err(ParseFiltersError),
            }
        }
        Ok(filters)
    }

    /// The parameter as today's clients write it.
    pub fn encode(&self) -> String {
        let object =
            |values: &BTreeSet<String>| values.iter().map(|v| (v.clone(), Value::Bool(true))).collect();
        Value::Object(
            self.0.iter().map(|(name, values)| (name.clone(), Value::Object(object(values)))).collect(),
        )
        .to_string()
    }

    /// Asks for `value` too.
    pub fn add(&mut self, name: &str, value: &str) {
        self.0.entry(name.to_owned()).or_default().insert(value.to_owned());
    }

    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values of `name`, in order; none if it was not given.
    pub fn get(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(String::as_str)
    }

    /// Whether `name` was given.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Every name with its values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = &str>)> {
        self.0.iter().map(|(name, values)| (name.as_str(), values.iter().map(String::as_str)))
    }

    /// The names that are not among `known`.
    pub fn unknown<'a>(&'a self, known: &'a [&str]) -> impl Iterator<Item = &'a str> {
        self.0.keys().map(String::as_str).filter(|name| !known.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_the_newer_is_written() {
        let new =
            Filters::parse(r#"{"label":{"a=b":true,"c":true,"no":false},"status":{"exited":true}}"#).unwrap();
        let old = Filters::parse(r#"{"status":["exited"],"label":["c","a=b"],"name":null}"#).unwrap();
        assert_eq!(new, old);
        assert_eq!(new.get("label").collect::<Vec<_>>(), ["a=b", "c"]);
        assert_eq!(new.encode(), r#"{"label":{"a=b":true,"c":true},"status":{"exited":true}}"#);
        assert_eq!(Filters::parse(&new.encode()), Ok(new.clone()));
        assert_eq!(new.unknown(&["label"]).collect::<Vec<_>>(), ["status"]);
    }

    #[test]
    fn nothing_is_no_filter_and_other_forms_are_refused() {
        for nothing in ["", "{}", "null", r#"{"a":{}}"#, r#"{"a":[]}"#] {
            assert!(Filters::parse(nothing).unwrap().is_empty(), "{nothing}");
        }
        for bad in ["x", "[]", "1", r#"{"a":1}"#, r#"{"a":"b"}"#, r#"{"a":[1]}"#, r#"{"a":{"b":"c"}}"#] {
            assert_eq!(Filters::parse(bad), Err(ParseFiltersError), "{bad}");
        }
    }
}
