//! Running plugins: one after the other, each told what the one before answered.

use std::{
    io::{Read, Write},
    net::IpAddr,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

use super::{Answer, CniError, Config, config::PluginConfig};
use crate::{BoundPort, EndpointRecord, MacAddr};

/// How long a plugin may take.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(2);
/// No answer is longer.
const MOST: u64 = 4 << 20;

/// What plugins are run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Give the namespace an interface.
    Add,
    /// Take it back.
    Delete,
    /// See whether it is as it should be.
    Check,
}

/// Where an interface is to be, and how.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    /// The container's id.
    pub(crate) container: String,
    /// The path of its network namespace; none if that is gone.
    pub(crate) netns: Option<&'a Path>,
    /// The interface's name.
    pub(crate) interface: &'a str,
    /// Addresses asked for.
    pub(crate) addresses: Vec<IpAddr>,
    /// The hardware address asked for.
    pub(crate) mac: Option<MacAddr>,
    /// What the container is called there.
    pub(crate) names: &'a [String],
    /// The ports to publish.
    pub(crate) ports: &'a [BoundPort],
    /// What the plugins answered when they added it.
    pub(crate) answered: Option<&'a Answer>,
}

impl<'a> Place<'a> {
    /// That of an endpoint: as it is, nothing asked for.
    pub(crate) fn of(record: &'a EndpointRecord, netns: Option<&'a Path>) -> Self {
        Self {
            container: record.container.to_string(),
            netns,
            interface: &record.interface,
            addresses: Vec::new(),
            mac: None,
            names: &record.names,
            ports: &record.ports,
            answered: record.foreign.as_ref().and_then(|foreign| foreign.answer.as_ref()),
        }
    }
}

impl Act {
    fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Delete => "DEL",
            Self::Check => "CHECK",
        }
    }
}

impl Config {
    /// Has the plugins add an interface. On failure those that have been run are run again, to delete it.
    pub(crate) fn add(&self, place: &Place<'_>) -> Result<Answer, CniError> {
        let mut answered: Option<Answer> = None;
        for plugin in &self.plugins {
            match self.run(plugin, Act::Add, place, answered.as_ref()) {
                // A plugin that changes nothing may say nothing.
                Ok(None) => {}
                Ok(Some(answer)) => answered = Some(answer),
                Err(error) => {
                    let place = Place { answered: answered.as_ref(), ..place.clone() };
                    self.delete(&place);
                    return Err(error);
                }
            }
        }
        Ok(answered.unwrap_or_default())
    }

    /// Has the plugins delete an interface, the last one first. What fails is logged: the others have their turn all the same.
    pub(crate) fn delete(&self, place: &Place<'_>) {
        for plugin in self.plugins.iter().rev() {
            if let Err(error) = self.run(plugin, Act::Delete, place, place.answered) {
                tracing::warn!(container = place.container, %error, "a CNI plugin did not do what was asked of it");
            }
        }
    }

    /// Has the plugins see whether an interface is as it should be.
    pub(crate) fn check(&self, place: &Place<'_>) -> Result<(), CniError> {
        self.plugins.iter().try_for_each(|p| self.run(p, Act::Check, place, place.answered).map(drop))
    }

    fn run(
        &self,
        plugin: &PluginConfig,
        act: Act,
        place: &Place<'_>,
        before: Option<&Answer>,
    ) -> Result<Option<Answer>, CniError> {
        let failed =
            |reason: String| CniError::Failed { plugin: plugin.kind.clone(), command: act.name(), reason };
        let input = Value::Object(self.input(plugin, place, before)).to_string();
        let child = Command::new(self.program(&plugin.kind)?)
            .env("CNI_COMMAND", act.name())
            .env("CNI_CONTAINERID", &place.container)
            .env("CNI_NETNS", place.netns.unwrap_or(Path::new("")))
            .env("CNI_IFNAME", place.interface)
            .env("CNI_ARGS", arguments(place))
            .env("CNI_PATH", &self.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let said = child.and_then(|child| talk(child, &input)).map_err(|e| failed(e.to_string()))?;
        if !said.success {
            return Err(failed(said.reason()));
        }
        if act != Act::Add || said.out.trim_ascii().is_empty() {
            return Ok(None);
        }
        Answer::parse(&said.out).map(Some).map_err(failed)
    }

    /// What a plugin is told: its configuration, the list's name and version, what it wants to know of the container, and what was answered before.
    fn input(&self, plugin: &PluginConfig, place: &Place<'_>, before: Option<&Answer>) -> Map<String, Value> {
        let mut input = plugin.config.clone();
        input.insert("name".to_owned(), json!(self.name));
        input.insert("cniVersion".to_owned(), json!(self.version));
        let port = |port: &BoundPort| {
            json!({
                "hostPort": port.host_port,
                "containerPort": port.container_port,
                "protocol": port.protocol.to_string(),
                "hostIP": if port.host_ip.is_unspecified() { String::new() } else { port.host_ip.to_string() },
            })
        };
        let told = [
            ("portMappings", (!place.ports.is_empty()).then(|| place.ports.iter().map(port).collect())),
            ("ips", (!place.addresses.is_empty()).then(|| json!(place.addresses))),
            ("mac", place.mac.map(|mac| json!(mac.to_string()))),
            ("aliases", (!place.names.is_empty()).then(|| json!(place.names))),
        ];
        let told = told.into_iter().filter(|(capability, _)| plugin.has(capability));
        let told: Map<String, Value> =
            told.filter_map(|(capability, value)| Some((capability.to_owned(), value?))).collect();
        input.remove("capabilities");
        if !told.is_empty() {
            input.insert("runtimeConfig".to_owned(), Value::Object(told));
        }
        if let Some(before) = before {
            input.insert("prevResult".to_owned(), before.value.clone());
        }
        input
    }
}

/// What is asked for by the conventions that are older than capabilities.
fn arguments(place: &Place<'_>) -> String {
    let mut out = "IgnoreUnknown=1".to_owned();
    if let Some(ip) = place.addresses.first() {
        out += &format!(";IP={ip}");
    }
    if let Some(mac) = place.mac {
        out += &format!(";MAC={mac}");
    }
    out
}

/// What a plugin said.
struct Said {
    success: bool,
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Said {
    /// Why it failed: its answer says so, or else what it wrote to its standard error.
    fn reason(&self) -> String {
        let value: Value = serde_json::from_slice(&self.out).unwrap_or_default();
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
        match (text("msg"), text("details")) {
            (msg, details) if !msg.is_empty() && !details.is_empty() => format!("{msg}: {details}"),
            (msg, _) if !msg.is_empty() => msg,
            _ => match String::from_utf8_lossy(&self.err).trim() {
                "" => "it does not say why".to_owned(),
                err => err.to_owned(),
            },
        }
    }
}

/// Tells a plugin its input and listens until it has ended, or for as long as patience lasts.
fn talk(mut child: Child, input: &str) -> std::io::Result<Said> {
    let (mut stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        scope.spawn(move || {
            // One that does not read its input says why itself.
            stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()))
        });
        let out = scope.spawn(move || read(stdout));
        let err = scope.spawn(move || read(stderr));
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if Instant::now() > until {
                child.kill()?;
                child.wait()?;
                break None;
            }
            thread::sleep(PAUSE);
        };
        let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
        match status {
            Some(status) => Ok(Said { success: status.success(), out, err }),
            None => Err(std::io::Error::other(format!("it took longer than {} s", PATIENCE.as_secs()))),
        }
    })
}

fn read(from: Option<impl Read>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(from) = from {
        // What was read until then is what there is.
        let _ = from.take(MOST).read_to_end(&mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Plugins that are shell scripts; what they are told and asked they write to `log`.
    fn config(dir: &Path, scripts: &[(&str, &str)]) -> Config {
        let mut plugins = Vec::new();
        for (name, script) in scripts {
            let program = dir.join(name);
            let log = dir.join("log");
            let head = format!(
                "#!/bin/sh\nIN=$(cat)\necho \"{name} $CNI_COMMAND $CNI_IFNAME $CNI_ARGS $IN\" >>{}\n",
                log.display()
            );
            fs_err::write(&program, head + script).unwrap();
            fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            plugins.push(json!({ "type": name, "capabilities": { "portMappings": true } }));
        }
        let text = json!({ "cniVersion": "1.0.0", "name": "net", "plugins": plugins }).to_string();
        Config::parse(&text, &dir.display().to_string()).unwrap()
    }

    fn place<'a>() -> Place<'a> {
        Place {
            container: "c".to_owned(),
            netns: None,
            interface: "eth0",
            addresses: vec!["10.0.0.5".parse().unwrap()],
            mac: None,
            names: &[],
            ports: &[],
            answered: None,
        }
    }

    const ANSWER: &str =
        r#"echo '{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.5/24","gateway":"10.0.0.1"}]}'"#;

    #[test]
    fn plugins_are_run_in_their_order_and_deleted_in_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), &[("one", ANSWER), ("two", "")]);
        let answer = config.add(&place()).unwrap();
        config.delete(&Place { answered: Some(&answer), ..place() });
        let log = fs_err::read_to_string(dir.path().join("log")).unwrap();
        let acts: Vec<String> =
            log.lines().map(|line| line.split(' ').take(4).collect::<Vec<_>>().join(" ")).collect();
        let arguments = "IgnoreUnknown=1;IP=10.0.0.5";
        let expected =
            ["one ADD", "two ADD", "two DEL", "one DEL"].map(|act| format!("{act} eth0 {arguments}"));
        assert_eq!(acts, expected);
        let told: Vec<bool> = log.lines().map(|line| line.contains("prevResult")).collect();
        assert_eq!(told, [false, true, true, true]);
    }

    #[test]
    fn a_failure_is_told_in_the_plugins_words_and_undone() {
        let dir = tempfile::tempdir().unwrap();
        let fails =
            r#"[ $CNI_COMMAND = DEL ] || { echo '{"code":11,"msg":"busy","details":"try again"}'; exit 1; }"#;
        let config = config(dir.path(), &[("one", ANSWER), ("two", fails)]);
        let error = config.add(&place()).unwrap_err();
        assert_eq!(error.to_string(), "the CNI plugin \"two\" failed at ADD: busy: try again");
        let log = fs_err::read_to_string(dir.path().join("log")).unwrap();
        let acts: Vec<&str> = log.lines().map(|line| &line[..7]).collect();
        assert_eq!(acts, ["one ADD", "two ADD", "two DEL", "one DEL"]);
    }

    #[test]
    fn a_plugin_without_a_word_and_one_without_sense_are_failures() {
        let dir = tempfile::tempdir().unwrap();
        for (script, words) in
            [("exit 3", "it does not say why"), ("echo oops >&2; exit 1", "oops"), ("echo '['", "EOF")]
        {
            let config = config(dir.path(), &[("one", script)]);
            let error = config.add(&place()).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
