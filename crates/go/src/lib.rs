//! What Go prints and reads where people see it: numbers, durations, quoted text, and templates.
//!
//! Docker is written in Go, and much of what it says and takes is as Go's standard library has it: `--format`, the `tag` of
//! a log, the error about an option that is no number. This is that much of Go, with no other purpose.

pub mod number;
pub mod template;
mod text;

pub use text::{format_duration, parse_bool, parse_decimal, parse_duration, parse_int, parse_uint, quote};
