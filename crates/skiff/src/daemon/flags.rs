//! The command line, in pflag's grammar and words.

use super::{
    options::{Kind, OptionSpec, by_flag, by_letter},
    settings::Settings,
};

/// Reads the arguments after the program's name.
///
/// # Errors
/// What dockerd refuses, in its words.
pub(super) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Settings, String> {
    let mut settings = Settings::default();
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            return rest.next().map_or(Ok(settings), |extra| Err(unexpected(&extra)));
        }
        if let Some(long) = argument.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            let option = by_flag(name).ok_or_else(|| format!("unknown flag: --{name}"))?;
            let value = match (value, option.kind) {
                (Some(value), _) => value,
                (None, Kind::Bool(_)) => "true".to_owned(),
                (None, _) => rest.next().ok_or_else(|| format!("flag needs an argument: --{name}"))?,
            };
            set(&mut settings, option, &value)?;
        } else if argument.len() > 1 && argument.starts_with('-') {
            letters(&mut settings, &argument, &mut rest)?;
        } else {
            return Err(unexpected(&argument));
        }
    }
    Ok(settings)
}

/// `-D`, `-Dl debug`, `-Hunix:///x`, `-H=unix:///x`, `-H unix:///x`.
fn letters(
    settings: &mut Settings,
    argument: &str,
    rest: &mut impl Iterator<Item = String>,
) -> Result<(), String> {
    let mut letters = argument[1..].chars();
    while let Some(letter) = letters.next() {
        let option =
            by_letter(letter).ok_or_else(|| format!("unknown shorthand flag: '{letter}' in {argument}"))?;
        let tail = letters.as_str();
        if let Some(value) = tail.strip_prefix('=') {
            return set(settings, option, value);
        }
        if matches!(option.kind, Kind::Bool(_)) {
            set(settings, option, "true")?;
            continue;
        }
        let value = match tail {
            "" => rest.next().ok_or_else(|| format!("flag needs an argument: '{letter}' in {argument}"))?,
            tail => tail.to_owned(),
        };
        return set(settings, option, &value);
    }
    Ok(())
}

fn set(settings: &mut Settings, option: &'static OptionSpec, value: &str) -> Result<(), String> {
    settings.add(option, option.id(), value).map_err(|reason| {
        let letter = option.short.map_or_else(String::new, |c| format!("-{c}, "));
        format!("invalid argument {value:?} for \"{letter}--{}\" flag: {reason}", option.flag)
    })
}

fn unexpected(argument: &str) -> String {
    format!("\"dockerd\" accepts no arguments: {argument:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Settings, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn flags_are_written_in_every_way_that_pflag_knows() {
        for line in ["-H unix:///x", "-Hunix:///x", "-H=unix:///x", "--host unix:///x", "--host=unix:///x"] {
            assert_eq!(read(line).unwrap().list("hosts"), ["unix:///x"], "{line}");
        }
        let settings = read("-Dl debug --icc=false --log-opt a=b --log-opt c=d -H a -H b").unwrap();
        assert_eq!((settings.flag("debug"), settings.flag("icc")), (Some(true), Some(false)));
        assert_eq!(settings.text("log-level"), Some("debug"));
        assert_eq!(settings.map("log-opts").len(), 2);
        assert_eq!(settings.list("hosts"), ["a", "b"]);
        assert_eq!(read("-D=false").unwrap().flag("debug"), Some(false));
    }

    /// Recorded from dockerd 28.5.2.
    #[test]
    fn bad_flags_are_refused_in_dockerds_words() {
        for (line, message) in [
            ("--nope", "unknown flag: --nope"),
            ("-z", "unknown shorthand flag: 'z' in -z"),
            (
                "--debug=x",
                r#"invalid argument "x" for "-D, --debug" flag: strconv.ParseBool: parsing "x": invalid syntax"#,
            ),
            (
                "--mtu x",
                r#"invalid argument "x" for "--mtu" flag: strconv.ParseInt: parsing "x": invalid syntax"#,
            ),
            ("--mtu", "flag needs an argument: --mtu"),
            (
                "--dns x",
                r#"invalid argument "x" for "--dns" flag: invalid string being converted to IP address: x"#,
            ),
            (
                "--default-ulimit x",
                r#"invalid argument "x" for "--default-ulimit" flag: invalid ulimit argument: x"#,
            ),
            (
                "--default-shm-size x",
                r#"invalid argument "x" for "--default-shm-size" flag: invalid size: 'x'"#,
            ),
            (
                "--default-address-pool x",
                r#"invalid argument "x" for "--default-address-pool" flag: invalid field 'x' must be a key=value pair"#,
            ),
            ("--ip x", r#"invalid argument "x" for "--ip" flag: failed to parse IP: "x""#),
            (
                "--add-runtime x",
                r#"invalid argument "x" for "--add-runtime" flag: invalid runtime argument: x"#,
            ),
        ] {
            assert_eq!(read(line).unwrap_err(), message);
        }
        assert!(read("extra").is_err());
    }
}
