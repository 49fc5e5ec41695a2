//! What is known of the container whose log it is, and what of that goes with each line.

use std::{collections::BTreeMap, rc::Rc};

use regex_lite::Regex;
use serde::{Deserialize, Serialize};
use skiff_go::template::{Map, Struct, Value};

use crate::{OptionError, Options};

/// A container, as drivers name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerFacts {
    /// Its id, whole.
    pub id: String,
    /// Its name, with the slash.
    pub name: String,
    /// Its image's id.
    pub image_id: String,
    /// Its image, as it was asked for.
    pub image_name: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Its program.
    pub entrypoint: String,
    /// The program's arguments.
    pub arguments: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The host's name.
    pub hostname: String,
}

impl ContainerFacts {
    /// Its name, without the slash.
    pub(crate) fn plain_name(&self) -> &str {
        self.name.strip_prefix('/').unwrap_or(&self.name)
    }

    /// Twelve digits of its id.
    pub(crate) fn short_id(&self) -> &str {
        first_12(&self.id)
    }

    /// Program and arguments.
    pub(crate) fn command(&self) -> String {
        let mut out = self.entrypoint.clone();
        for argument in &self.arguments {
            out.push(' ');
            out.push_str(argument);
        }
        out
    }

    /// The option `tag`, rendered; without it twelve digits of the id.
    ///
    /// # Errors
    /// A malformed template, or one that names what is not there, in Go's words.
    pub fn tag(&self, options: &Options) -> Result<String, OptionError> {
        match options.get("tag").filter(|tag| !tag.is_empty()) {
            None => Ok(self.short_id().to_owned()),
            Some(tag) => skiff_go::template::render("log-tag", tag, &self.value(options))
                .map_err(|e| OptionError::value("tag", e)),
        }
    }

    /// Labels and variables that `labels`, `labels-regex`, `env` and `env-regex` choose. Their names go through `rename`.
    ///
    /// # Errors
    /// A pattern that is none.
    pub fn attributes(
        &self,
        options: &Options,
        rename: impl Fn(&str) -> String,
    ) -> Result<BTreeMap<String, String>, OptionError> {
        let labels: BTreeMap<&str, &str> =
            self.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let variables: BTreeMap<&str, &str> = self.env.iter().filter_map(|v| v.split_once('=')).collect();
        let mut out = BTreeMap::new();
        for (names, pattern, all) in [("labels", "labels-regex", &labels), ("env", "env-regex", &variables)] {
            let chosen = options.get(names).map_or("", String::as_str);
            for name in chosen.split(',') {
                if let Some(value) = all.get(name) {
                    out.insert(rename(name), (*value).to_owned());
                }
            }
            let Some(text) = options.get(pattern).filter(|text| !text.is_empty()) else { continue };
            // As Docker: nobody looks at a pattern for variables where there are none.
            if all.is_empty() && names == "env" {
                continue;
            }
            let regex = Regex::new(text).map_err(|e| OptionError::value(pattern, go_words(&e, text)))?;
            for (name, value) in all.iter().filter(|(name, _)| regex.is_match(name)) {
                out.insert(rename(name), (*value).to_owned());
            }
        }
        Ok(out)
    }

    /// What a tag may name: fields and methods of Docker's `logger.Info`.
    fn value(&self, options: &Options) -> Value {
        let text = |text: &str| Value::text(text);
        let list = |items: &[String]| Value::list(items.iter().map(Value::text).collect());
        let map = |entries: &BTreeMap<String, String>| {
            let entries = entries.iter().map(|(k, v)| (k.clone(), Value::text(v))).collect();
            Value::Map(Rc::new(Map { entries, zero: Value::text(""), source: None }))
        };
        let fields = vec![
            ("Config", map(options)),
            ("ContainerID", text(&self.id)),
            ("ContainerName", text(&self.name)),
            ("ContainerEntrypoint", text(&self.entrypoint)),
            ("ContainerArgs", list(&self.arguments)),
            ("ContainerImageID", text(&self.image_id)),
            ("ContainerImageName", text(&self.image_name)),
            ("ContainerCreated", Value::Str(go_time(&self.created))),
            ("ContainerEnv", list(&self.env)),
            ("ContainerLabels", map(&self.labels)),
            ("LogPath", text("")),
            ("DaemonName", text("docker")),
            ("ID", text(self.short_id())),
            ("FullID", text(&self.id)),
            ("Name", text(self.plain_name())),
            ("ImageID", text(first_12(&self.image_id))),
            ("ImageFullID", text(&self.image_id)),
            ("ImageName", text(&self.image_name)),
            ("Command", Value::Str(self.command())),
            ("Hostname", text(&self.hostname)),
        ];
        Value::Struct(Rc::new(Struct {
            type_name: "logger.Info",
            pointer: true,
            fields,
            ..Struct::default()
        }))
    }
}

fn first_12(text: &str) -> &str {
    text.get(..12).unwrap_or(text)
}

/// As Go prints a time: `2006-01-02 15:04:05.999999999 +0000 UTC`.
fn go_time(rfc3339: &str) -> String {
    match rfc3339.strip_suffix('Z').and_then(|text| text.split_once('T')) {
        Some((date, clock)) => format!("{date} {clock} +0000 UTC"),
        None => rfc3339.to_owned(),
    }
}

/// What is wrong with a pattern. Go's words for the mistake that people make.
pub(crate) fn go_words(error: &regex_lite::Error, pattern: &str) -> String {
    match error.to_string() {
        text if text.contains("without closing ')'") => {
            format!("error parsing regexp: missing closing ): `{pattern}`")
        }
        text => format!("error parsing regexp: {text}: `{pattern}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> ContainerFacts {
        ContainerFacts {
            id: "0123456789abcdef".into(),
            name: "/web".into(),
            image_id: "sha256:0123456789".into(),
            image_name: "nginx:1".into(),
            created: "2026-11-26T19:14:45.5Z".into(),
            entrypoint: "sh".into(),
            arguments: vec!["-c".into(), "true".into()],
            env: vec!["PATH=/bin".into(), "STAGE=test".into()],
            labels: [("app", "shop"), ("app.tier", "front"), ("x", "y")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
            hostname: "host".into(),
        }
    }

    fn options(options: &[(&str, &str)]) -> Options {
        options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn tags_name_what_docker_s_may_name() {
        let tag = |text: &str| facts().tag(&options(&[("tag", text)])).unwrap();
        assert_eq!(facts().tag(&Options::new()).unwrap(), "0123456789ab");
        assert_eq!(tag("{{.ImageName}}/{{.Name}}/{{.ID}}"), "nginx:1/web/0123456789ab");
        assert_eq!(tag("{{.FullID}} {{.ImageID}} {{.Command}}"), "0123456789abcdef sha256:01234 sh -c true");
        assert_eq!(tag(r#"{{index .ContainerLabels "app"}}{{index .ContainerLabels "no"}}"#), "shop");
        assert_eq!(tag("{{.ContainerCreated}}"), "2026-11-26 19:14:45.5 +0000 UTC");
        assert_eq!(tag("{{.ContainerArgs}} {{.DaemonName}}"), "[-c true] docker");
    }

    #[test]
    fn attributes_are_chosen_by_name_and_by_pattern() {
        let chosen = |pairs: &[(&str, &str)]| {
            let found =
                facts().attributes(&options(pairs), |name| format!("_{name}")).map_err(|e| e.to_string())?;
            Ok::<_, String>(found.into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(chosen(&[]), Ok(String::new()));
        assert_eq!(chosen(&[("labels", "app,none"), ("env", "STAGE")]), Ok("_STAGE=test _app=shop".into()));
        assert_eq!(chosen(&[("labels-regex", "^app")]), Ok("_app=shop _app.tier=front".into()));
        assert_eq!(chosen(&[("env-regex", "^S")]), Ok("_STAGE=test".into()));
        let words = "error parsing regexp: missing closing ): `(`";
        assert_eq!(chosen(&[("labels-regex", "(")]), Err(words.into()));
        assert_eq!(chosen(&[("env-regex", "(")]), Err(words.into()));
        let without = ContainerFacts { env: Vec::new(), ..facts() };
        assert!(without.attributes(&options(&[("env-regex", "(")]), str::to_owned).is_ok());
    }
}
