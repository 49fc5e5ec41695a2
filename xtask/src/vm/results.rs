//! What the console says, counted. Lines with `@@` come from the script, all others from tests that failed or from the kernel.

use std::fmt;

/// The results of one machine.
#[derive(Default)]
pub(crate) struct Results {
    kernel: String,
    passed: u32,
    failed: Vec<String>,
    running: Option<String>,
    complete: bool,
}

impl Results {
    /// None yet, of a machine with this kernel.
    pub(crate) fn of(kernel: &str) -> Self {
        Self { kernel: kernel.to_owned(), ..Self::default() }
    }

    /// Takes one line of the console.
    pub(crate) fn read(&mut self, line: &str) {
        // firmware and kernel may leave something on the line before
        let marked =
            line.find("@@").map(|at| line[at + 2..].split_once(' ').unwrap_or((&line[at + 2..], "")));
        match marked {
            Some(("begin", test)) => self.running = Some(test.to_owned()),
            Some(("pass", test)) => {
                eprintln!("{} pass {test}", self.kernel);
                self.running = None;
                self.passed += 1;
            }
            Some(("fail", test)) => {
                self.running = None;
                eprintln!("{} FAIL {test}", self.kernel);
                self.failed.push(test.to_owned());
            }
            Some(("done", _)) => self.complete = true,
            _ => eprintln!("{}      {line}", self.kernel),
        }
    }

    /// The test that has begun and not ended.
    pub(crate) fn running(&self) -> &str {
        self.running.as_deref().unwrap_or("none")
    }

    /// Whether tests ran to the end, and all passed.
    pub(crate) fn is_success(&self) -> bool {
        self.complete && self.failed.is_empty() && self.passed > 0
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed.len())?;
        for test in &self.failed {
            write!(f, "\n     {test}")?;
        }
        if !self.complete {
            write!(f, "\n     the machine stopped while running {}", self.running())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lines: &[&str]) -> Results {
        let mut results = Results::default();
        lines.iter().for_each(|line| results.read(line));
        results
    }

    #[test]
    fn only_a_complete_run_without_failures_is_a_success() {
        assert!(after(&["\u{1b}c@@begin a b::c", "@@pass a b::c", "@@done"]).is_success());
        assert!(!after(&["@@begin a b::c", "@@fail a b::c", "@@done"]).is_success());
        assert!(!after(&["@@done"]).is_success(), "no test at all is no success");
        let stopped = after(&["@@begin a x", "@@pass a x", "@@begin a y", "Kernel panic"]);
        assert!(!stopped.is_success());
        assert_eq!(stopped.to_string(), "1 passed, 0 failed\n     the machine stopped while running a y");
    }
}
