//! `port`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Call;
use crate::{
    failure::{Failure, Outcome},
    format::natural,
    grammar::parse_uint,
    say,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    network_settings: Settings,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Settings {
    #[serde(default)]
    ports: Option<BTreeMap<String, Option<Vec<Binding>>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Binding {
    #[serde(default)]
    host_ip: String,
    #[serde(default)]
    host_port: String,
}

impl Binding {
    fn address(&self) -> String {
        match self.host_ip.contains(':') {
            true => format!("[{}]:{}", self.host_ip, self.host_port),
            false => format!("{}:{}", self.host_ip, self.host_port),
        }
    }
}

/// `docker port`.
pub(super) async fn port(call: Call<'_>) -> Outcome {
    let name = &call.args[0];
    let client = call.session.engine().await?;
    let bytes = client.container_inspect(name, false).await?;
    let container: Inspected = serde_json::from_slice(&bytes).map_err(|e| Failure::new(e.to_string()))?;
    let ports = container.network_settings.ports.unwrap_or_default();
    let mut lines = Vec::new();
    match call.args.get(1) {
        Some(wanted) => {
            let (port, protocol) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
            let protocol = if protocol.is_empty() { "tcp" } else { protocol };
            parse_uint(port, 16).map_err(|e| format!("Error: invalid port ({port}): {e}"))?;
            let bindings = ports.get(&format!("{port}/{protocol}")).and_then(Option::as_ref);
            let Some(bindings) = bindings.filter(|b| !b.is_empty()) else {
                return Err(format!("Error: No public port '{wanted}' published for {name}").into());
            };
            lines.extend(bindings.iter().map(Binding::address));
        }
        None => {
            for (port, bindings) in &ports {
                let bindings = bindings.iter().flatten();
                lines.extend(bindings.map(|binding| format!("{port} -> {}", binding.address())));
            }
        }
    }
    lines.sort_by(|a, b| natural::compare(a, b));
    if !lines.is_empty() {
        say::line(&lines.join("\n"));
    }
    Ok(())
}
