//! The table of the specification's facts (`cargo xtask spec` makes it), the list of what is not as it says, and paths
//! through JSON.

use serde_json::Value;

/// A field of an exchange: of its query, body, headers or answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    /// `POST /containers/create`.
    pub(super) endpoint: &'static str,
    /// `endpoint` for the endpoint as such, `query`, `body`, `answer`, `answer header`.
    pub(super) part: &'static str,
    /// A path for JSON, else a name.
    pub(super) field: &'static str,
    /// The specification's type.
    pub(super) kind: &'static str,
}

impl Row {
    pub(super) fn is_answer(&self) -> bool {
        self.part.starts_with("answer")
    }
}

/// Which engines an exception holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Docker on Linux does the same.
    DockerToo,
    /// Docker has the field.
    Skiff,
    /// Docker does not have it, Skiff does.
    Docker,
    /// It depends on the machine or on what is asked for.
    Sometimes,
}

/// Why fields are not as the specification says.
#[derive(Debug)]
pub(super) struct Exception {
    endpoint: &'static str,
    part: &'static str,
    pub(super) field: &'static str,
    pub(super) whose: Whose,
    pub(super) reason: &'static str,
}

impl Exception {
    /// A pattern ends with `…` if it stands for everything that begins so.
    pub(super) fn is_about(&self, row: &Row) -> bool {
        let fits = |pattern: &str, text: &str| match pattern.strip_suffix('…') {
            Some(beginning) => text.starts_with(beginning),
            None => pattern == text,
        };
        fits(self.endpoint, row.endpoint) && fits(self.part, row.part) && fits(self.field, row.field)
    }
}

fn columns<const N: usize>(text: &'static str) -> impl Iterator<Item = [&'static str; N]> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let words: Vec<_> = line.split('\t').collect();
        words.try_into().unwrap_or_else(|_| panic!("not {N} columns: {line:?}"))
    })
}

pub(super) fn rows() -> Vec<Row> {
    let row = |[endpoint, part, field, kind]: [&'static str; 4]| Row { endpoint, part, field, kind };
    columns(include_str!("api.tsv")).map(row).collect()
}

pub(super) fn exceptions() -> Vec<Exception> {
    let exception = |[endpoint, part, field, whose, reason]: [&'static str; 5]| Exception {
        endpoint,
        part,
        field,
        whose: match whose {
            "docker too" => Whose::DockerToo,
            "skiff" => Whose::Skiff,
            "docker" => Whose::Docker,
            "sometimes" => Whose::Sometimes,
            other => panic!("whose exception is {other:?}?"),
        },
        reason,
    };
    columns(include_str!("exceptions.tsv")).map(exception).collect()
}

/// One step of a path: a name, any key, or a list's elements.
fn steps(path: &str) -> Vec<&str> {
    let mut steps = Vec::new();
    for piece in path.split('.').filter(|piece| !piece.is_empty()) {
        let name = piece.trim_end_matches("[]");
        match (steps.last_mut(), name) {
            // The names with a dot: those of OCI's platforms.
            (Some(last @ &mut "os"), "version") => *last = "os.version",
            (Some(last @ &mut "os"), "features") => *last = "os.features",
            (_, "") => {}
            _ => steps.push(name),
        }
        steps.extend(std::iter::repeat_n("[]", (piece.len() - name.len()) / 2));
    }
    steps
}

/// All values at a path.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![value];
    for step in steps(path) {
        found = found
            .into_iter()
            .flat_map(|value| -> Vec<&Value> {
                match (step, value) {
                    ("[]", Value::Array(list)) => list.iter().collect(),
                    ("*", Value::Object(object)) => object.values().collect(),
                    (name, Value::Object(object)) => object.get(name).into_iter().collect(),
                    _ => Vec::new(),
                }
            })
            .collect();
    }
    found
}

/// Whether a value has the type that the specification says.
pub(super) fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        _ => value.is_object(),
    }
}

#[test]
fn paths_lead_through_lists_and_maps() {
    let value = serde_json::json!({ "a": [{ "b": { "x": 1, "y": 2 } }, { "b": null }] });
    assert_eq!(at(&value, ".a[].b.*"), [1, 2]);
    assert_eq!(at(&value, ".a[]").len(), 2);
    assert!(at(&value, ".a.b").is_empty());
    assert_eq!(steps("[].a[][].*"), ["[]", "a", "[]", "[]", "*"]);
}
