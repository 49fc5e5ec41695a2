//! Dockerfile instructions that change a configuration: `--change` of `import` and `commit`.

mod expand;
mod expose;
mod words;

use serde_json::Value;

use self::{
    expand::expand,
    expose::expose,
    words::{instructions, key_values, words},
};
use crate::{ContainerConfig, Empty, Error, Healthcheck, Result};

/// Applies instructions in order.
///
/// # Errors
/// [`Error::Change`] in Docker's words; the configuration may then be changed in part.
pub fn apply_changes(config: &mut ContainerConfig, changes: &[String]) -> Result<()> {
    let instructions = instructions(&changes.join("\n"));
    if !changes.is_empty() && instructions.is_empty() {
        return Err(bad("file with no instructions"));
    }
    let mut has_command = false;
    for instruction in &instructions {
        let (name, rest) = instruction.split_once(char::is_whitespace).unwrap_or((instruction, ""));
        let name = name.to_ascii_uppercase();
        apply(config, &name, rest.trim())?;
        has_command |= name == "CMD";
        // A new entry point knows nothing of the old one's arguments.
        if name == "ENTRYPOINT" && !has_command {
            config.cmd = None;
        }
    }
    Ok(())
}

fn apply(config: &mut ContainerConfig, name: &str, rest: &str) -> Result<()> {
    // An instruction does not see what itself sets.
    let env = config.env.clone().unwrap_or_default();
    match name {
        "CMD" => config.cmd = Some(command(&config.shell, rest)?),
        "ENTRYPOINT" => {
            config.entrypoint =
                Some(command(&config.shell, rest)?).filter(|words| !rest.is_empty() && !words.is_empty());
        }
        "ENV" => {
            let environment = config.env.get_or_insert_default();
            for (key, value) in key_values(name, rest, &env)? {
                let entry = format!("{key}={value}");
                match environment.iter_mut().find(|e| e.split_once('=').is_some_and(|(k, _)| k == key)) {
                    Some(old) => *old = entry,
                    None => environment.push(entry),
                }
            }
        }
        "LABEL" => config.labels.get_or_insert_default().extend(key_values(name, rest, &env)?),
        "EXPOSE" => {
            require(name, rest)?;
            // A variable may have several ports.
            for port in words(rest, &env)?.iter().flat_map(|word| word.split_whitespace()) {
                let ports = expose(port)?.into_iter().map(|port| (port, Empty {}));
                config.exposed_ports.get_or_insert_default().extend(ports);
            }
        }
        "VOLUME" => {
            require(name, rest)?;
            let volumes = match json_list(rest)? {
                Some(list) => list.iter().map(|word| expand(word, &env)).collect::<Result<_>>()?,
                None => words(rest, &env)?,
            };
            if volumes.is_empty() {
                return Err(bad("VOLUME requires at least one argument"));
            }
            for volume in volumes {
                if volume.is_empty() {
                    return Err(bad("VOLUME specified can not be an empty string"));
                }
                config.volumes.get_or_insert_default().insert(volume, Empty {});
            }
        }
        "USER" => config.user = exactly_one(name, rest, &env)?,
        "WORKDIR" => {
            config.working_dir = working_dir(&config.working_dir, &exactly_one(name, rest, &env)?)?;
        }
        "STOPSIGNAL" => config.stop_signal = stop_signal(&exactly_one(name, rest, &env)?)?,
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(rest)?),
        "ONBUILD" => {
            require(name, rest)?;
            let trigger = rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            match trigger.as_str() {
                "ONBUILD" => return Err(bad("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")),
                "MAINTAINER" | "FROM" => {
                    return Err(bad(format!("{trigger} isn't allowed as an ONBUILD trigger")));
                }
                _ => config.on_build.get_or_insert_default().push(rest.to_owned()),
            }
        }
        _ => return Err(bad(format!("{name} is not a valid change command"))),
    }
    Ok(())
}

fn bad(message: impl Into<String>) -> Error {
    Error::Change(message.into())
}

fn require(name: &str, rest: &str) -> Result<()> {
    if rest.is_empty() { Err(bad(format!("{name} requires at least one argument"))) } else { Ok(()) }
}

fn exactly_one(name: &str, rest: &str, env: &[String]) -> Result<String> {
    if rest.is_empty() {
        return Err(bad(format!("{name} requires exactly one argument")));
    }
    expand(rest, env)
}

/// A JSON list is the words; anything else is for the shell.
fn command(shell: &[String], rest: &str) -> Result<Vec<String>> {
    if let Some(list) = json_list(rest)? {
        return Ok(list);
    }
    let mut words = shell.to_vec();
    if words.is_empty() {
        words = vec!["/bin/sh".to_owned(), "-c".to_owned()];
    }
    if !rest.is_empty() {
        words.push(rest.to_owned());
    }
    Ok(words)
}

/// Nothing if it is no JSON list.
fn json_list(rest: &str) -> Result<Option<Vec<String>>> {
    let Ok(Value::Array(list)) = serde_json::from_str(rest) else { return Ok(None) };
    let strings = list.into_iter().map(|word| match word {
        Value::String(word) => Ok(word),
        _ => Err(bad("when using JSON array syntax, arrays must be comprised of strings only")),
    });
    strings.collect::<Result<_>>().map(Some)
}

/// Absolute and clean; a relative one starts from the one before.
fn working_dir(current: &str, path: &str) -> Result<String> {
    if path.is_empty() {
        return Err(bad("cannot normalize nothing"));
    }
    let joined = if path.starts_with('/') { path.to_owned() } else { format!("{current}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Ok(format!("/{}", parts.join("/")))
}

fn stop_signal(signal: &str) -> Result<String> {
    const NAMES: &str = "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP \
        SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX";
    let upper = signal.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = ["RTMIN+", "RTMAX-"]
        .iter()
        .any(|p| name.strip_prefix(p).is_some_and(|n| n.parse::<u8>().is_ok_and(|n| n < 31)));
    let number = signal.parse::<u32>().is_ok_and(|n| (1..=64).contains(&n));
    match number || real_time || NAMES.split_ascii_whitespace().any(|n| n == name) {
        true => Ok(signal.to_owned()),
        false => Err(bad(format!("invalid signal: {signal}"))),
    }
}

/// `[--interval=… --timeout=… --start-period=… --start-interval=… --retries=…] CMD …` or `NONE`.
fn healthcheck(rest: &str) -> Result<Healthcheck> {
    require("HEALTHCHECK", rest)?;
    let mut check = Healthcheck::default();
    let mut rest = rest;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        let field = match name {
            "interval" => &mut check.interval,
            "timeout" => &mut check.timeout,
            "start-period" => &mut check.start_period,
            "start-interval" => &mut check.start_interval,
            "retries" => &mut check.retries,
            _ => return Err(bad(format!("unknown flag: {name}"))),
        };
        *field = match name {
            "retries" => value
                .parse()
                .ok()
                .filter(|n| *n >= 0)
                .ok_or_else(|| bad(format!("invalid retries: {value}")))?,
            _ => duration(value).ok_or_else(|| bad(format!("time: invalid duration {value:?}")))?,
        };
        rest = after.trim_start();
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    check.test = match kind.to_ascii_uppercase().as_str() {
        "NONE" if command.trim().is_empty() => vec!["NONE".to_owned()],
        "NONE" => return Err(bad("HEALTHCHECK NONE takes no arguments")),
        "CMD" => match (json_list(command.trim())?, command.trim()) {
            (Some(list), _) => ["CMD".to_owned()].into_iter().chain(list).collect(),
            (None, "") => return Err(bad("missing command after HEALTHCHECK CMD")),
            (None, shell) => vec!["CMD-SHELL".to_owned(), shell.to_owned()],
        },
        other => return Err(bad(format!("Unknown type {other:?} in HEALTHCHECK (try CMD)"))),
    };
    Ok(check)
}

/// Go's durations (`1h2m3.5s`) in nanoseconds.
fn duration(text: &str) -> Option<i64> {
    let mut total = 0f64;
    let mut rest = text;
    (!rest.is_empty()).then_some(())?;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit =
            rest[digits..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |n| digits + n);
        let scale = match &rest[digits..unit] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += rest[..digits].parse::<f64>().ok()? * scale;
        rest = &rest[unit..];
    }
    (total < 9.2e18).then_some(total as i64)
}

#[cfg(test)]
mod tests;
