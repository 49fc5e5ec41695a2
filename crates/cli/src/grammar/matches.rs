//! The options that were given.

use super::{Flag, Kind, parse_duration};

/// The options of one command line, checked. Asking for an option that the command does not have is a fault of this
/// program and panics in tests of the tables; see `commands`.
#[derive(Default)]
pub(crate) struct Matches {
    flags: Vec<&'static Flag>,
    given: Vec<(&'static str, String)>,
}

impl Matches {
    pub(super) fn new(flags: Vec<&'static Flag>) -> Self {
        Self { flags, given: Vec::new() }
    }

    pub(super) fn push(&mut self, flag: &'static Flag, value: String) {
        self.given.push((flag.same_as.unwrap_or(flag.long), value));
    }

    pub(super) fn flags(&self) -> &[&'static Flag] {
        &self.flags
    }

    fn last(&self, name: &str) -> Option<&str> {
        self.given.iter().rev().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    fn default(&self, name: &str) -> &'static str {
        match self.flags.iter().find(|f| f.long == name) {
            Some(flag) if !matches!(flag.kind, Kind::Many(_)) => flag.default,
            _ => "",
        }
    }

    /// Whether any option was given.
    pub(crate) fn any(&self) -> bool {
        !self.given.is_empty()
    }

    /// Whether it was given at all.
    pub(crate) fn changed(&self, name: &str) -> bool {
        self.last(name).is_some()
    }

    /// A switch.
    pub(crate) fn on(&self, name: &str) -> bool {
        self.last(name).unwrap_or_else(|| self.default(name)) == "true"
    }

    /// A text; empty if not given and without a default.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.last(name).unwrap_or_else(|| self.default(name))
    }

    /// A text, if given and not empty.
    pub(crate) fn some(&self, name: &str) -> Option<&str> {
        self.last(name).filter(|v| !v.is_empty())
    }

    /// A number; 0 if not given and without a default.
    pub(crate) fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or_default()
    }

    /// A duration in nanoseconds; 0 if not given.
    pub(crate) fn nanos(&self, name: &str) -> i64 {
        parse_duration(self.text(name)).unwrap_or_default()
    }

    /// All values of a repeatable option, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.given.iter().filter(|(n, _)| *n == name).map(|(_, v)| v.clone()).collect()
    }
}
