//! `cargo xtask spec FILE`: the facts of Docker's API specification as a table that the black-box suite walks.
//!
//! The specification itself is Docker's and stays where it is. A line of the table says: endpoint, part of the exchange, field,
//! type; every endpoint has a line of its own before. A field is a path through JSON: `.name` in an object, `.*` under any key, `[]` in a
//! list.

use std::{fmt::Write as _, path::Path};

use anyhow::{Context, Result, bail};
use yaml_rust2::{Yaml, YamlLoader};

use crate::root;

/// Where the table lies.
const TABLE: &str = "tests/blackbox/walk/api.tsv";

/// The parts of the API that are walked, by the specification's tags.
const TAGS: [&str; 6] = ["Container", "Exec", "Volume", "System", "Image", "Distribution"];

/// Reads the specification and writes the table.
pub(crate) fn write(mut args: impl Iterator<Item = String>) -> Result<()> {
    let (Some(path), None) = (args.next(), args.next()) else { bail!("usage: cargo xtask spec FILE.yaml") };
    let text = fs_err::read_to_string(Path::new(&path))?;
    let documents =
        YamlLoader::load_from_str(&indented(&text)).with_context(|| format!("{path} is not YAML"))?;
    let spec = Spec(documents.first().context("the specification is empty")?);
    fs_err::write(root().join(TABLE), spec.table()?)?;
    Ok(())
}

/// The specification closes brackets in the column of their key, which YAML does not allow and Go does not mind.
fn indented(text: &str) -> String {
    let line = |line: &str| match line.trim() {
        "}" | "]" => format!("    {line}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

struct Spec<'a>(&'a Yaml);

/// A field without fields of its own.
struct Leaf {
    path: String,
    kind: String,
}

impl<'a> Spec<'a> {
    fn table(&self) -> Result<String> {
        let mut out = String::from("# endpoint\tpart\tfield\ttype\n");
        let paths = self.0["paths"].as_hash().context("no paths")?;
        for (path, methods) in paths {
            let path = path.as_str().context("a path is text")?;
            for (method, operation) in methods.as_hash().context("a path has methods")? {
                let tag = operation["tags"][0].as_str().unwrap_or_default();
                if TAGS.contains(&tag) {
                    let endpoint = format!("{} {path}", method.as_str().unwrap_or_default().to_uppercase());
                    self.exchange(&endpoint, operation, &mut out);
                }
            }
        }
        Ok(out)
    }

    fn exchange(&self, endpoint: &str, operation: &'a Yaml, out: &mut String) {
        let mut line = |part: &str, field: &str, kind: &str| {
            let _ = writeln!(out, "{endpoint}\t{part}\t{field}\t{kind}");
        };
        line("endpoint", "", "");
        for parameter in operation["parameters"].as_vec().into_iter().flatten() {
            let part = parameter["in"].as_str().unwrap_or_default();
            // A body that is not JSON, an archive, has no fields.
            if part == "body" {
                let fields = self.leaves(&parameter["schema"]);
                fields.iter().filter(|f| !f.path.is_empty()).for_each(|f| line("body", &f.path, &f.kind));
            } else if part != "path" {
                line(part, parameter["name"].as_str().unwrap_or_default(), text(&parameter["type"]));
            }
        }
        for (status, answer) in operation["responses"].as_hash().into_iter().flatten() {
            if !(200..300).contains(&status.as_i64().unwrap_or(0)) {
                continue;
            }
            for (name, header) in answer["headers"].as_hash().into_iter().flatten() {
                line("answer header", text(name), text(&header["type"]));
            }
            for field in self.leaves(&answer["schema"]).iter().filter(|f| !f.path.is_empty()) {
                line("answer", &field.path, &field.kind);
            }
        }
    }

    fn leaves(&self, schema: &'a Yaml) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        self.descend(schema, "", &mut Vec::new(), &mut leaves);
        leaves
    }

    /// `within` holds the definitions on the way: one that holds itself ends there.
    fn descend(&self, schema: &'a Yaml, path: &str, within: &mut Vec<&'a str>, leaves: &mut Vec<Leaf>) {
        if let Some(name) = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
            if !within.contains(&name) {
                within.push(name);
                self.descend(&self.0["definitions"][name], path, within, leaves);
                within.pop();
            }
            return;
        }
        let before = leaves.len();
        for part in schema["allOf"].as_vec().into_iter().flatten() {
            self.descend(part, path, within, leaves);
        }
        for (name, field) in schema["properties"].as_hash().into_iter().flatten() {
            self.descend(field, &format!("{path}.{}", text(name)), within, leaves);
        }
        if schema["additionalProperties"].as_hash().is_some_and(|any| !any.is_empty()) {
            self.descend(&schema["additionalProperties"], &format!("{path}.*"), within, leaves);
        }
        if schema["items"].as_hash().is_some() {
            self.descend(&schema["items"], &format!("{path}[]"), within, leaves);
        }
        if leaves.len() == before && !schema.is_badvalue() {
            let kind = schema["type"].as_str().unwrap_or("object").to_owned();
            leaves.push(Leaf { path: path.to_owned(), kind });
        }
    }
}

fn text(yaml: &Yaml) -> &str {
    yaml.as_str().unwrap_or_default()
}
