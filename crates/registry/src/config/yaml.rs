//! The YAML file as names and values: `http: {addr: x}` is `http.addr`, and a list of one value is that value.

use yaml_rust2::{Yaml, YamlLoader};

/// Levels of the deepest setting, with room.
const DEPTH: usize = 8;

/// Every value of the file with its name. `auth: {htpasswd: …}` also says that `auth` is `htpasswd`.
pub(super) fn flatten(text: &str) -> Result<Vec<(String, String)>, String> {
    let documents = YamlLoader::load_from_str(text).map_err(|error| error.to_string())?;
    let mut values = Vec::new();
    match documents.as_slice() {
        [] => {}
        [document] => walk("", document, 0, &mut values)?,
        _ => return Err("the file has more than one document".to_owned()),
    }
    Ok(values)
}

fn walk(name: &str, node: &Yaml, depth: usize, values: &mut Vec<(String, String)>) -> Result<(), String> {
    if depth > DEPTH {
        return Err(format!("{name} is nested too deep"));
    }
    let mut scalar = |text: String| values.push((name.to_owned(), text));
    match node {
        Yaml::Null => {}
        Yaml::String(text) | Yaml::Real(text) => scalar(text.clone()),
        Yaml::Integer(number) => scalar(number.to_string()),
        Yaml::Boolean(value) => scalar(value.to_string()),
        Yaml::Array(list) if matches!(list.as_slice(), [Yaml::String(_)]) => {
            walk(name, &list[0], depth + 1, values)?;
        }
        Yaml::Hash(map) => {
            for (key, value) in map {
                let Some(key) = key.as_str() else { return Err(format!("{name}: {key:?} is not a name")) };
                let inner = if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
                if name == "auth" {
                    values.push(("auth".to_owned(), key.to_owned()));
                }
                walk(&inner, value, depth + 1, values)?;
            }
        }
        _ => return Err(format!("{name} has a form that is not supported here")),
    }
    Ok(())
}
