//! A question whose answer is no, unless somebody says yes.

use crate::say;

/// Asks on standard output, which may not end with a line; reads a line of standard input.
pub(crate) fn confirm(question: &str) -> bool {
    say::print(format!("{question} [y/N] ").as_bytes());
    let mut answer = String::new();
    // Who cannot be read says no.
    let read = std::io::stdin().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y")
}
