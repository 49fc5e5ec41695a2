//! `skiff registry user|project|robot`: the accounts of a running registry.

use std::{fmt::Write, io::Read, path::PathBuf, process::ExitCode};

use serde_json::{Value, json};

use super::{fail, operator::Operator, say};

const USAGE: &str = "Usage:  skiff registry user ls
        skiff registry user add [--admin] [--password-stdin] USER
        skiff registry user passwd [--password-stdin] USER
        skiff registry user set [--admin=BOOL] [--disabled=BOOL] USER
        skiff registry user rm USER
        skiff registry project ls
        skiff registry project add [--public] PROJECT
        skiff registry project set [--public=BOOL] [--quota SIZE] [--immutable PATTERN]...
                                   [--keep-last N] [--keep-days N] [--keep PATTERN]... [--untagged-days N]
                                   [--webhook URL [--webhook-secret SECRET]]
                                   [--replicate HOST[:PORT][/PREFIX] [--replicate-user USER --password-stdin]
                                    [--replicate-tag PATTERN]... [--replicate-every HOURS]] PROJECT
        skiff registry project replicate PROJECT
        skiff registry project replication PROJECT
        skiff registry project rm PROJECT
        skiff registry project member PROJECT USER guest|developer|maintainer|admin|none
        skiff registry robot ls PROJECT
        skiff registry robot add [--role ROLE] [--expires DAYS] PROJECT NAME
        skiff registry robot rm PROJECT NAME

Accounts of the registry that runs on this machine

Options:
      --root string   The registry's directory (default \"/var/lib/registry\")
";

/// Flags with a value, and switches.
const VALUES: &[&str] = &[
    "root",
    "quota",
    "immutable",
    "role",
    "expires",
    "keep-last",
    "keep-days",
    "keep",
    "untagged-days",
    "webhook",
    "webhook-secret",
    "replicate",
    "replicate-user",
    "replicate-tag",
    "replicate-every",
];
const SWITCHES: &[&str] = &["admin", "disabled", "public", "password-stdin"];

struct Asked {
    flags: Vec<(String, String)>,
    words: Vec<String>,
}

impl Asked {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut flags, mut words) = (Vec::new(), Vec::new());
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let Some(flag) = argument.strip_prefix("--") else {
                words.push(argument);
                continue;
            };
            let (flag, value) =
                flag.split_once('=').map_or((flag, None), |(flag, value)| (flag, Some(value.to_owned())));
            let value = match value {
                Some(value) => value,
                None if SWITCHES.contains(&flag) => "true".to_owned(),
                None if VALUES.contains(&flag) => {
                    arguments.next().ok_or_else(|| format!("flag needs an argument: --{flag}"))?
                }
                None => String::new(),
            };
            if !SWITCHES.contains(&flag) && !VALUES.contains(&flag) {
                return Err(format!("unknown flag: --{flag}"));
            }
            flags.push((flag.to_owned(), value));
        }
        Ok(Self { flags, words })
    }

    /// Refuses flags that the command does not have.
    fn only(&self, known: &[&str]) -> Result<(), String> {
        match self.flags.iter().find(|(flag, _)| flag != "root" && !known.contains(&flag.as_str())) {
            Some((flag, _)) => Err(format!("this command has no flag --{flag}")),
            None => Ok(()),
        }
    }

    fn get(&self, flag: &str) -> Option<&str> {
        self.flags.iter().rev().find(|(name, _)| name == flag).map(|(_, value)| value.as_str())
    }

    fn switch(&self, flag: &str) -> Result<Option<bool>, String> {
        let value =
            |text: &str| text.parse().map_err(|_| format!("--{flag}: {text:?} is neither true nor false"));
        self.get(flag).map(value).transpose()
    }

    /// Every value of a flag that is not empty.
    fn all(&self, flag: &str) -> Vec<&str> {
        let all = self.flags.iter().filter(|(name, value)| name == flag && !value.is_empty());
        all.map(|(_, value)| value.as_str()).collect()
    }

    fn number(&self, flag: &str) -> Result<Option<u32>, String> {
        let number = |text: &str| text.parse().map_err(|_| format!("--{flag}: {text:?} is not a number"));
        self.get(flag).map(number).transpose()
    }

    fn root(&self) -> PathBuf {
        let variable = "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY";
        let root = self.get("root").map(str::to_owned).or_else(|| std::env::var(variable).ok());
        root.unwrap_or_else(|| "/var/lib/registry".to_owned()).into()
    }
}

pub(super) fn main(kind: &str, arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments: Vec<String> = arguments.collect();
    if arguments.is_empty() || arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        return say(USAGE);
    }
    match Asked::parse(arguments.into_iter()).and_then(|asked| run(kind, &asked)) {
        Ok(text) => say(&text),
        Err(reason) => fail(&format!("skiff registry {kind}: {reason}")),
    }
}

fn run(kind: &str, asked: &Asked) -> Result<String, String> {
    let words: Vec<&str> = asked.words.iter().map(String::as_str).collect();
    let operator = Operator::new(&asked.root());
    match kind {
        "user" => user(&operator, asked, &words),
        "project" => project(&operator, asked, &words),
        _ => robot(&operator, asked, &words),
    }
}

fn password(asked: &Asked) -> Result<String, String> {
    if asked.switch("password-stdin")? != Some(true) {
        return Err("where is the password? Use --password-stdin and standard input".to_owned());
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn user(operator: &Operator, asked: &Asked, words: &[&str]) -> Result<String, String> {
    match words {
        ["ls"] => {
            asked.only(&[])?;
            let list = operator.ask("GET", "/users", &Value::Null)?;
            Ok(table(
                &list,
                &[("USER", "name"), ("ADMIN", "admin"), ("DISABLED", "disabled"), ("CREATED", "created")],
            ))
        }
        ["add", name] => {
            asked.only(&["admin", "password-stdin"])?;
            let admin = asked.switch("admin")?.unwrap_or(false);
            let body = json!({ "name": name, "password": password(asked)?, "admin": admin });
            operator.ask("POST", "/users", &body).map(|_| format!("{name}\n"))
        }
        ["passwd", name] => {
            asked.only(&["password-stdin"])?;
            let body = json!({ "password": password(asked)? });
            operator.ask("PATCH", &format!("/users/{name}"), &body).map(|_| String::new())
        }
        ["set", name] => {
            asked.only(&["admin", "disabled"])?;
            let body = json!({ "admin": asked.switch("admin")?, "disabled": asked.switch("disabled")? });
            operator.ask("PATCH", &format!("/users/{name}"), &body).map(|_| String::new())
        }
        ["rm", name] => {
            asked.only(&[])?;
            operator.ask("DELETE", &format!("/users/{name}"), &Value::Null).map(|_| format!("{name}\n"))
        }
        _ => Err(format!("unknown command\n\n{USAGE}")),
    }
}

fn project(operator: &Operator, asked: &Asked, words: &[&str]) -> Result<String, String> {
    match words {
        ["ls"] => {
            asked.only(&[])?;
            let list = operator.ask("GET", "/projects", &Value::Null)?;
            let columns = [
                ("PROJECT", "name"),
                ("PUBLIC", "public"),
                ("REPOSITORIES", "repositories"),
                ("BYTES", "size"),
                ("QUOTA", "quota"),
            ];
            Ok(table(&list, &columns))
        }
        ["add", name] => {
            asked.only(&["public"])?;
            let body = json!({ "name": name, "public": asked.switch("public")?.unwrap_or(false) });
            operator.ask("POST", "/projects", &body).map(|_| format!("{name}\n"))
        }
        ["set", name] => {
            asked.only(&[
                "public",
                "quota",
                "immutable",
                "keep-last",
                "keep-days",
                "keep",
                "untagged-days",
                "webhook",
                "webhook-secret",
                "replicate",
                "replicate-user",
                "replicate-tag",
                "replicate-every",
                "password-stdin",
            ])?;
            operator.ask("PATCH", &format!("/projects/{name}"), &settings(asked)?).map(|_| String::new())
        }
        ["replicate", name] => {
            asked.only(&[])?;
            let path = format!("/projects/{name}/replicate");
            operator.ask("POST", &path, &Value::Null).map(|_| String::new())
        }
        ["replication", name] => {
            asked.only(&[])?;
            let project = operator.ask("GET", &format!("/projects/{name}"), &Value::Null)?;
            let columns = [
                ("REGISTRY", "registry"),
                ("PREFIX", "prefix"),
                ("WAITING", "waiting"),
                ("LAST", "last"),
                ("ERROR", "error"),
            ];
            Ok(table(&project["replications"], &columns))
        }
        ["rm", name] => {
            asked.only(&[])?;
            operator.ask("DELETE", &format!("/projects/{name}"), &Value::Null).map(|_| format!("{name}\n"))
        }
        ["member", project, user, role] => {
            asked.only(&[])?;
            let path = format!("/projects/{project}/members/{user}");
            let asked = match *role {
                "none" => operator.ask("DELETE", &path, &Value::Null),
                role => operator.ask("PUT", &path, &json!({ "role": role })),
            };
            asked.map(|_| String::new())
        }
        _ => Err(format!("unknown command\n\n{USAGE}")),
    }
}

/// Where a project goes; an empty text for nowhere.
fn replications(asked: &Asked, to: &str) -> Result<Value, String> {
    if to.is_empty() {
        return Ok(json!([]));
    }
    let (registry, prefix) = to.split_once('/').unwrap_or((to, ""));
    let user = asked.get("replicate-user").unwrap_or_default();
    let password = if user.is_empty() { String::new() } else { password(asked)? };
    Ok(json!([{
        "registry": registry,
        "prefix": prefix,
        "user": user,
        "password": password,
        "tags": asked.all("replicate-tag"),
        "every": u64::from(asked.number("replicate-every")?.unwrap_or(0)) * 3600,
    }]))
}

/// What `project set` changes; a rule and a webhook replace the ones before, and an empty address takes it away.
fn settings(asked: &Asked) -> Result<Value, String> {
    let size = |text: &str| skiff_types::parse_size(text).map_err(|error| format!("--quota: {error}"));
    let quota = asked.get("quota").map(size).transpose()?;
    let immutable = asked.get("immutable").map(|_| asked.all("immutable"));
    let rule = ["keep-last", "keep-days", "keep", "untagged-days"];
    let retention = rule.iter().any(|flag| asked.get(flag).is_some()).then(|| -> Result<Value, String> {
        Ok(json!({
            "keep_last": asked.number("keep-last")?,
            "keep_days": asked.number("keep-days")?,
            "keep": asked.all("keep"),
            "untagged_days": asked.number("untagged-days")?,
        }))
    });
    let secret = asked.get("webhook-secret").unwrap_or_default();
    let webhooks = asked.get("webhook").map(|url| match url {
        "" => json!([]),
        url => json!([{ "url": url, "secret": secret }]),
    });
    let replications = asked.get("replicate").map(|to| replications(asked, to)).transpose()?;
    if replications.is_none() && asked.flags.iter().any(|(flag, _)| flag.starts_with("replicate-")) {
        return Err("--replicate is missing".to_owned());
    }
    Ok(json!({
        "replications": replications,
        "public": asked.switch("public")?,
        "quota": quota,
        "immutable": immutable,
        "retention": retention.transpose()?,
        "webhooks": webhooks,
    }))
}

fn robot(operator: &Operator, asked: &Asked, words: &[&str]) -> Result<String, String> {
    match words {
        ["ls", project] => {
            asked.only(&[])?;
            let list = operator.ask("GET", &format!("/projects/{project}/robots"), &Value::Null)?;
            Ok(table(&list, &[("ROBOT", "name"), ("ROLE", "role"), ("EXPIRES", "expires"), ("BY", "by")]))
        }
        ["add", project, name] => {
            asked.only(&["role", "expires"])?;
            let days = |text: &str| {
                text.parse::<u64>().map_err(|_| format!("--expires: {text:?} is not a number of days"))
            };
            let seconds = asked.get("expires").map(days).transpose()?.map(|days| days.saturating_mul(86_400));
            let body = json!({ "name": name, "role": asked.get("role").unwrap_or("developer"), "expires_in": seconds });
            let made = operator.ask("POST", &format!("/projects/{project}/robots"), &body)?;
            let text = |key: &str| made[key].as_str().unwrap_or_default().to_owned();
            Ok(format!("Username: {}\nPassword: {}\n", text("name"), text("token")))
        }
        ["rm", project, name] => {
            asked.only(&[])?;
            operator
                .ask("DELETE", &format!("/projects/{project}/robots/{name}"), &Value::Null)
                .map(|_| format!("{name}\n"))
        }
        _ => Err(format!("unknown command\n\n{USAGE}")),
    }
}

/// Rows of JSON objects under their titles.
fn table(list: &Value, columns: &[(&str, &str)]) -> String {
    let cell = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut rows = vec![columns.iter().map(|(title, _)| (*title).to_owned()).collect::<Vec<_>>()];
    for item in list.as_array().into_iter().flatten() {
        rows.push(columns.iter().map(|(_, key)| cell(&item[key])).collect());
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (text, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{text:width$}   ");
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}
