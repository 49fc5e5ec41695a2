//! YAML as the JSON that it means.

use serde_json::{Map, Number, Value};
use yaml_rust2::{Yaml, YamlLoader};

/// The first document of a text.
///
/// # Errors
/// It is no YAML, or means something that JSON cannot say.
pub(super) fn to_json(text: &str) -> Result<Value, String> {
    let documents = YamlLoader::load_from_str(text).map_err(|e| e.to_string())?;
    documents.first().map_or_else(|| Err("it is empty".to_owned()), value)
}

fn value(yaml: &Yaml) -> Result<Value, String> {
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Boolean(value) => Value::Bool(*value),
        Yaml::Integer(number) => Value::Number((*number).into()),
        Yaml::Real(text) => {
            let number = text.parse().ok().and_then(Number::from_f64);
            Value::Number(number.ok_or_else(|| format!("{text} is no number"))?)
        }
        Yaml::String(text) => Value::String(text.clone()),
        Yaml::Array(items) => Value::Array(items.iter().map(value).collect::<Result<_, _>>()?),
        Yaml::Hash(entries) => {
            let entry = |(key, item): (&Yaml, &Yaml)| match key {
                Yaml::String(key) => Ok((key.clone(), value(item)?)),
                other => Err(format!("{other:?} is no key")),
            };
            Value::Object(entries.iter().map(entry).collect::<Result<Map<_, _>, String>>()?)
        }
        Yaml::Alias(_) | Yaml::BadValue => return Err("it is not plain".to_owned()),
    })
}
