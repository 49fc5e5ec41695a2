//! `info`.

use std::fmt::Write;

use super::{Call, version};
use crate::{
    failure::{Failure, Outcome},
    format::size,
    say,
    shapes::system::INFO,
    template::{self, Functions, Json, MissingKey},
};

/// `docker info`.
pub(super) async fn info(call: Call<'_>) -> Outcome {
    let format = call.matches.text("format");
    let client = call.session.engine().await?;
    let api = format.is_empty().then(|| client.version());
    let mut own = vec![("Debug".to_owned(), Json::Bool(false))];
    own.extend(version::client(call, api));
    own.push(("Plugins".to_owned(), Json::List(Vec::new())));
    own.push(("Warnings".to_owned(), Json::Null));
    let answer = client.engine_info().await;
    if !format.is_empty() {
        let bytes = answer?;
        let mut info: Json = serde_json::from_slice(&bytes).map_err(|e| Failure::new(e.to_string()))?;
        if let Json::Object(entries) = &mut info {
            entries.push(("ClientInfo".to_owned(), Json::Object(own)));
        }
        return formatted(&info, format);
    }
    let mut out = String::from("Client:\n");
    let _ = writeln!(out, " Version:    {}\n Context:    {}", version::DOCKER, call.session.context);
    out.push_str(" Debug Mode: false\n\nServer:\n");
    let (warnings, failure) = match answer {
        Ok(bytes) => {
            let info: Json = serde_json::from_slice(&bytes).map_err(|e| Failure::new(e.to_string()))?;
            server(Section(&info), &mut out);
            (Section(&info).texts("Warnings"), None)
        }
        Err(error) if error.status().is_some() => {
            say::print(out.as_bytes());
            say::error(&format!("ERROR: {error}"));
            return Err("errors pretty printing info".into());
        }
        Err(error) => (Vec::new(), Some(Failure::from(error))),
    };
    say::print(out.as_bytes());
    warnings.iter().for_each(|warning| say::error(warning));
    failure.map_or(Ok(()), Err)
}

fn formatted(info: &Json, format: &str) -> Outcome {
    let text = if format == "json" { "{{json .}}" } else { format };
    let template = template::parse(text, Functions::Values)
        .map_err(|e| Failure::new(format!("template parsing error: {e}")).code(64))?;
    let value = INFO.value(info).ok_or("the engine's answer is not as the API says")?;
    let rendered = template::execute(&template, &value, Functions::Values, MissingKey::NoValue);
    say::line(rendered.as_deref().unwrap_or_default());
    rendered.map(|_| ()).map_err(Failure::new)
}

/// An object of the answer.
#[derive(Clone, Copy)]
struct Section<'a>(&'a Json);

impl<'a> Section<'a> {
    fn text(self, key: &str) -> String {
        match self.0.get(key) {
            Some(Json::Str(text)) => text.clone(),
            Some(Json::Int(value)) => value.to_string(),
            Some(Json::Bool(value)) => value.to_string(),
            _ => String::new(),
        }
    }

    fn texts(self, key: &str) -> Vec<String> {
        let Some(Json::List(items)) = self.0.get(key) else { return Vec::new() };
        items
            .iter()
            .filter_map(|item| if let Json::Str(text) = item { Some(text.clone()) } else { None })
            .collect()
    }

    fn section(self, key: &str) -> Section<'a> {
        Section(self.0.get(key).unwrap_or(&Json::Null))
    }

    fn keys(self) -> Vec<String> {
        match self.0 {
            Json::Object(entries) => entries.iter().map(|(key, _)| key.clone()).collect(),
            _ => Vec::new(),
        }
    }
}

/// What to print of the engine: a label and its field, always or only where there is something.
fn server(info: Section<'_>, out: &mut String) {
    let mut line = |label: &str, text: String| {
        let _ = writeln!(out, "{label} {text}");
    };
    line(" Containers:", info.text("Containers"));
    line("  Running:", info.text("ContainersRunning"));
    line("  Paused:", info.text("ContainersPaused"));
    line("  Stopped:", info.text("ContainersStopped"));
    line(" Images:", info.text("Images"));
    filled(info, out, &[(" Server Version:", "ServerVersion"), (" Storage Driver:", "Driver")]);
    if let Some(Json::List(pairs)) = info.0.get("DriverStatus") {
        for pair in pairs {
            if let Json::List(pair) = pair
                && let [Json::Str(key), Json::Str(value)] = pair.as_slice()
            {
                let _ = writeln!(out, "  {key}: {value}");
            }
        }
    }
    let cgroups = [(" Cgroup Driver:", "CgroupDriver"), (" Cgroup Version:", "CgroupVersion")];
    filled(info, out, &[(" Logging Driver:", "LoggingDriver")]);
    filled(info, out, &cgroups);
    let plugins = info.section("Plugins");
    out.push_str(" Plugins:\n");
    for kind in ["Volume", "Network", "Authorization", "Log"] {
        let names = plugins.texts(kind);
        if kind != "Authorization" || !names.is_empty() {
            let _ = writeln!(out, "  {kind}: {}", names.join(" "));
        }
    }
    indented(out, " CDI spec directories:", &info.texts("CDISpecDirs"));
    indented(out, " Discovered Devices:", &devices(info));
    let _ = writeln!(out, " Swarm: {}", info.section("Swarm").text("LocalNodeState"));
    let runtimes = info.section("Runtimes").keys();
    if !runtimes.is_empty() {
        let _ = writeln!(
            out,
            " Runtimes: {}\n Default Runtime: {}",
            runtimes.join(" "),
            info.text("DefaultRuntime")
        );
    }
    if info.text("OSType") == "linux" {
        let commit = |key: &str| info.section(key).text("ID");
        let _ = writeln!(out, " Init Binary: {}", info.text("InitBinary"));
        let _ = writeln!(out, " containerd version: {}", commit("ContainerdCommit"));
        let _ = writeln!(out, " runc version: {}", commit("RuncCommit"));
        let _ = writeln!(out, " init version: {}", commit("InitCommit"));
        security(&info.texts("SecurityOptions"), out);
    }
    host(info, out);
}

fn filled(info: Section<'_>, out: &mut String, fields: &[(&str, &str)]) {
    for (label, key) in fields {
        let text = info.text(key);
        if !text.is_empty() {
            let _ = writeln!(out, "{label} {text}");
        }
    }
}

fn indented(out: &mut String, title: &str, items: &[String]) {
    if !items.is_empty() {
        let _ = writeln!(out, "{title}");
        items.iter().for_each(|item| {
            let _ = writeln!(out, "  {item}");
        });
    }
}

/// `name=seccomp,profile=builtin` and the like.
fn security(options: &[String], out: &mut String) {
    if options.is_empty() {
        return;
    }
    out.push_str(" Security Options:\n");
    for option in options {
        for part in option.split(',') {
            match part.split_once('=') {
                Some(("name", name)) => {
                    let _ = writeln!(out, "  {name}");
                }
                Some(("profile", profile)) => {
                    let _ = writeln!(out, "   Profile: {profile}");
                }
                _ => {}
            }
        }
    }
}

fn host(info: Section<'_>, out: &mut String) {
    filled(
        info,
        out,
        &[
            (" Kernel Version:", "KernelVersion"),
            (" Operating System:", "OperatingSystem"),
            (" OSType:", "OSType"),
            (" Architecture:", "Architecture"),
        ],
    );
    let memory = match info.0.get("MemTotal") {
        Some(Json::Int(bytes)) => *bytes as f64,
        _ => 0.0,
    };
    let _ = writeln!(out, " CPUs: {}\n Total Memory: {}", info.text("NCPU"), size::binary(memory));
    filled(info, out, &[(" Name:", "Name"), (" ID:", "ID")]);
    filled(info, out, &[(" Docker Root Dir:", "DockerRootDir")]);
    let budget = info.section("DiskBudget");
    if let (Some(Json::Int(limit)), Some(Json::Int(used))) = (budget.0.get("Limit"), budget.0.get("Used")) {
        let [limit, used] = [limit, used].map(|bytes| size::human(*bytes as f64, 4));
        let _ = writeln!(out, " Disk Budget: {used} of {limit}");
    }
    let _ = writeln!(out, " Debug Mode: {}", info.text("Debug"));
    if info.text("Debug") == "true" {
        filled(
            info,
            out,
            &[
                ("  File Descriptors:", "NFd"),
                ("  Goroutines:", "NGoroutines"),
                ("  System Time:", "SystemTime"),
                ("  EventsListeners:", "NEventsListener"),
            ],
        );
    }
    let proxies = [(" HTTP Proxy:", "HttpProxy"), (" HTTPS Proxy:", "HttpsProxy"), (" No Proxy:", "NoProxy")];
    filled(info, out, &proxies);
    indented(out, " Labels:", &info.texts("Labels"));
    let _ = writeln!(out, " Experimental: {}", info.text("ExperimentalBuild"));
    let registry = info.section("RegistryConfig");
    let mut insecure: Vec<String> = Vec::new();
    let indexes = registry.section("IndexConfigs");
    for name in indexes.keys() {
        if indexes.section(&name).text("Secure") == "false" {
            insecure.push(name);
        }
    }
    let ranges = registry.texts("InsecureRegistryCIDRs");
    if !ranges.is_empty() || !indexes.keys().is_empty() {
        out.push_str(" Insecure Registries:\n");
        for item in insecure.iter().chain(&ranges) {
            let _ = writeln!(out, "  {item}");
        }
    }
    indented(out, " Registry Mirrors:", &registry.texts("Mirrors"));
    let _ = writeln!(out, " Live Restore Enabled: {}", info.text("LiveRestoreEnabled"));
    if let Some(Json::List(pools)) = info.0.get("DefaultAddressPools")
        && !pools.is_empty()
    {
        out.push_str(" Default Address Pools:\n");
        for pool in pools {
            let _ = writeln!(
                out,
                "   Base: {}, Size: {}",
                Section(pool).text("Base"),
                Section(pool).text("Size")
            );
        }
    }
    out.push('\n');
}

/// Devices by the name of whoever found them.
fn devices(info: Section<'_>) -> Vec<String> {
    let Some(Json::List(found)) = info.0.get("DiscoveredDevices") else { return Vec::new() };
    let one = |device: &Json| {
        let device = Section(device);
        format!("{}: {}", device.text("Source"), device.text("ID"))
    };
    found.iter().map(one).collect()
}
