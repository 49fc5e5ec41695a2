//! What was tried and what was acknowledged.

use std::{collections::BTreeMap, io::Write, sync::Mutex};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What an object is after an act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    /// Never made, or removed.
    Absent,
    /// A container that has never run.
    Created {
        /// Unknown until it is acknowledged.
        id: Option<String>,
    },
    /// A container that was started, and of whose end nobody was told.
    Started { id: String },
    /// A container whose exit code somebody was told.
    Exited { id: String, code: i64 },
    /// A name of an image with this payload.
    Image { payload: String },
}

/// What an object is called: `container NAME` or `image NAME`.
pub(crate) type Key = String;

#[derive(Serialize, Deserialize)]
struct Entry {
    key: Key,
    state: State,
}

/// What is known of one object.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// The last state that was acknowledged.
    pub(crate) acknowledged: State,
    /// What it may be instead: the act was under way when the power went.
    pub(crate) tried: Option<State>,
}

/// What is known after a power cut.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    pub(crate) objects: BTreeMap<Key, Known>,
    /// How often the power was cut.
    pub(crate) cuts: usize,
}

impl Journal {
    /// From the lines that were said, without their `@@`.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let mut journal = Self::default();
        for line in text.lines() {
            journal.cuts += usize::from(line == "cut");
            let Some((kind, entry)) = line.split_once(' ').filter(|(kind, _)| matches!(*kind, "try" | "ack"))
            else {
                continue;
            };
            let Entry { key, state } = serde_json::from_str(entry).with_context(|| line.to_owned())?;
            let object =
                journal.objects.entry(key).or_insert(Known { acknowledged: State::Absent, tried: None });
            match kind {
                "try" => object.tried = Some(state),
                _ => *object = Known { acknowledged: state, tried: None },
            }
        }
        Ok(journal)
    }
}

/// An act begins.
pub(crate) fn trying(key: &str, state: &State) -> Result<()> {
    entry("try", key, state)
}

/// The act has been acknowledged.
pub(crate) fn acknowledged(key: &str, state: &State) -> Result<()> {
    entry("ack", key, state)
}

fn entry(kind: &str, key: &str, state: &State) -> Result<()> {
    say(kind, &serde_json::to_string(&Entry { key: key.to_owned(), state: state.clone() })?)
}

/// Writes a line to the console, and waits until it is out: what is told must not be less than what was done.
pub(crate) fn say(kind: &str, text: &str) -> Result<()> {
    static CONSOLE: Mutex<()> = Mutex::new(());
    let _one_at_a_time = CONSOLE.lock().expect("no panic under this lock");
    let mut out = std::io::stdout().lock();
    writeln!(out, "@@{kind} {text}")?;
    out.flush()?;
    rustix::termios::tcdrain(&out)?;
    Ok(())
}
