//! `skiff doctor`: what this host lacks to run containers well, in plain words, with what to do about it.
//!
//! It only looks: nothing is changed, nothing is loaded, no daemon is needed. Each check answers a [`Finding`]; the exit status is 0
//! if nothing is wrong (things to know do not count), 1 if something does not work, 2 if it was called wrongly.

mod control_groups;
mod kernel;
mod limits;
mod network;
mod storage;

use std::{io::Write, path::PathBuf, process::ExitCode};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// As it should be.
    Good,
    /// It works, with something left out.
    Note,
    /// Containers do not run, or not safely.
    Bad,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    verdict: Verdict,
    /// A sentence about how it is.
    text: String,
    /// What to do about it; empty if nothing.
    remedy: String,
}

impl Finding {
    fn good(text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Good, text: text.into(), remedy: String::new() }
    }

    fn note(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Note, text: text.into(), remedy: remedy.into() }
    }

    fn bad(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Bad, text: text.into(), remedy: remedy.into() }
    }
}

/// What is asked about.
struct Asked {
    /// Where the daemon keeps, or would keep, its files.
    root: PathBuf,
    json: bool,
}

const USAGE: &str = "Usage:  skiff doctor [OPTIONS]

Say what this host lacks to run containers well, and what to do about it

Options:
      --data-root string   Where the daemon keeps its files (default \"/var/lib/skiff\")
      --json               Print a JSON array instead of sentences
";

/// Looks at the host; `arguments` are those after `doctor`.
pub(crate) fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let asked = match read(arguments) {
        Ok(Some(asked)) => asked,
        Ok(None) => return print(USAGE, 0),
        Err(wrong) => {
            let _ = writeln!(std::io::stderr(), "{wrong}\nSee 'skiff doctor --help'.");
            return ExitCode::from(2);
        }
    };
    let sections: [(&'static str, Vec<Finding>); 5] = [
        ("kernel", kernel::findings()),
        ("cgroups", control_groups::findings()),
        ("storage", storage::findings(&asked.root)),
        ("network", network::findings()),
        ("limits", limits::findings()),
    ];
    let worst = sections.iter().flat_map(|(_, findings)| findings).map(|f| f.verdict).max();
    let text = if asked.json { json(&sections) } else { sentences(&sections) };
    print(&text, u8::from(worst == Some(Verdict::Bad)))
}

/// None if only help is wanted.
fn read(mut arguments: impl Iterator<Item = String>) -> Result<Option<Asked>, String> {
    let mut asked = Asked { root: "/var/lib/skiff".into(), json: false };
    while let Some(argument) = arguments.next() {
        match argument.split_once('=') {
            Some(("--data-root", path)) => asked.root = path.into(),
            _ => match argument.as_str() {
                "--json" => asked.json = true,
                "--data-root" => match arguments.next() {
                    Some(path) => asked.root = path.into(),
                    None => return Err("flag needs an argument: --data-root".to_owned()),
                },
                "-h" | "--help" => return Ok(None),
                other => return Err(format!("unknown argument: {other}")),
            },
        }
    }
    Ok(Some(asked))
}

fn sentences(sections: &[(&'static str, Vec<Finding>)]) -> String {
    let mut out = String::new();
    let mut counts = [0; 3];
    for (name, findings) in sections {
        out.push_str(&format!("{name}\n"));
        for finding in findings {
            let mark = match finding.verdict {
                Verdict::Good => "ok  ",
                Verdict::Note => "note",
                Verdict::Bad => "BAD ",
            };
            counts[finding.verdict as usize] += 1;
            out.push_str(&format!("  {mark}  {}\n", finding.text));
            if !finding.remedy.is_empty() {
                out.push_str(&format!("        -> {}\n", finding.remedy));
            }
        }
    }
    let [_, notes, bad] = counts;
    out.push_str(&match (bad, notes) {
        (0, 0) => "\nEverything is as it should be.\n".to_owned(),
        (0, notes) => format!("\nContainers run here. Things to know: {notes}.\n"),
        (bad, _) => format!("\nSomething does not work here: {bad}.\n"),
    });
    out
}

fn json(sections: &[(&'static str, Vec<Finding>)]) -> String {
    let all: Vec<_> = sections
        .iter()
        .flat_map(|(section, findings)| findings.iter().map(move |finding| (section, finding)))
        .map(|(section, finding)| {
            let verdict = match finding.verdict {
                Verdict::Good => "ok",
                Verdict::Note => "note",
                Verdict::Bad => "bad",
            };
            serde_json::json!({
                "section": section, "verdict": verdict, "text": finding.text, "remedy": finding.remedy,
            })
        })
        .collect();
    format!("{}\n", serde_json::Value::Array(all))
}

fn print(text: &str, code: u8) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::from(code),
        Err(_) => ExitCode::FAILURE,
    }
}

/// A file's text without white space around it; empty if it cannot be read.
fn line(path: &str) -> String {
    fs_err::read_to_string(path).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> std::vec::IntoIter<String> {
        words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn arguments_are_read_or_refused() {
        let asked = read(words(&["--json", "--data-root", "/x"])).unwrap().unwrap();
        assert_eq!((asked.json, asked.root), (true, PathBuf::from("/x")));
        assert_eq!(read(words(&["--data-root=/y"])).unwrap().unwrap().root, PathBuf::from("/y"));
        assert!(read(words(&["--help"])).unwrap().is_none());
        assert!(read(words(&["--data-root"])).is_err());
        assert!(read(words(&["x"])).is_err());
    }

    #[test]
    fn findings_are_told_with_their_remedies() {
        let sections = [("kernel", vec![Finding::good("a"), Finding::bad("b", "c")])];
        let text = sentences(&sections);
        assert!(text.contains("  BAD   b\n        -> c\n"), "{text}");
        assert!(text.ends_with("\nSomething does not work here: 1.\n"), "{text}");
        assert!(json(&sections).contains(r#""verdict":"bad""#));
    }
}
