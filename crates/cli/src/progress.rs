//! Progress of pull, load and import: JSON messages, shown as docker shows them.

use std::fmt::Write;

use serde::Deserialize;
use serde_json::Value;
use skiff_client::JsonLines;

use crate::{
    failure::{Failure, Outcome},
    streams::{Output, terminal},
};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Message {
    stream: String,
    status: String,
    id: String,
    from: String,
    progress_detail: Option<Detail>,
    error: String,
    error_detail: Option<ErrorDetail>,
    aux: Option<Value>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    current: i64,
    total: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorDetail {
    message: String,
}

/// Shows a stream of messages to its end. On a terminal, messages with an id are lines that change in place; elsewhere
/// progress is left out. `aux` gets the values that are for programs.
///
/// # Errors
/// The error that ended the stream.
pub(crate) async fn show(
    mut lines: JsonLines,
    output: Output,
    quiet: bool,
    mut aux: impl FnMut(&Value) -> Outcome,
) -> Outcome {
    let mut display = Display {
        terminal: match output {
            Output::Stdout => terminal::stdout_is_terminal(),
            Output::Stderr => std::io::IsTerminal::is_terminal(&std::io::stderr()),
        },
        columns: terminal::size().1,
        ids: Vec::new(),
    };
    while let Some(message) = lines.next::<Message>().await? {
        if let Some(value) = &message.aux {
            aux(value)?;
            continue;
        }
        if !message.error.is_empty() || message.error_detail.is_some() {
            let detail = message.error_detail.map(|d| d.message).filter(|m| !m.is_empty());
            return Err(Failure::new(detail.unwrap_or(message.error)));
        }
        if !quiet {
            output.write_all(display.render(&message).as_bytes()).await?;
        }
    }
    Ok(())
}

struct Display {
    terminal: bool,
    columns: u16,
    /// Ids of lines above the cursor, in order.
    ids: Vec<String>,
}

impl Display {
    fn render(&mut self, message: &Message) -> String {
        let progress = message.progress_detail.filter(|d| d.current > 0 || d.total > 0);
        if !self.terminal {
            return if progress.is_some() { String::new() } else { Self::plain(message, "\n") };
        }
        let mut out = String::new();
        let mut up = 0;
        if message.id.is_empty() {
            // What follows is below all lines so far.
            self.ids.clear();
        } else if message.progress_detail.is_some() || self.ids.contains(&message.id) {
            let line = self.ids.iter().position(|id| *id == message.id).unwrap_or_else(|| {
                self.ids.push(message.id.clone());
                out.push('\n');
                self.ids.len() - 1
            });
            up = self.ids.len() - line;
            let _ = write!(out, "\x1b[{up}A");
        }
        match progress {
            Some(detail) => {
                let bar = self.bar(detail);
                let _ = write!(out, "\x1b[2K\r{}: {} {bar}\r", message.id, message.status);
            }
            None => {
                if up > 0 {
                    out.push_str("\x1b[2K\r");
                }
                out.push_str(&Self::plain(message, if up > 0 { "\r" } else { "\n" }));
            }
        }
        if up > 0 {
            let _ = write!(out, "\x1b[{up}B");
        }
        out
    }

    fn plain(message: &Message, end: &str) -> String {
        let mut out = String::new();
        if !message.id.is_empty() {
            let _ = write!(out, "{}: ", message.id);
        }
        if !message.from.is_empty() {
            let _ = write!(out, "(from {}) ", message.from);
        }
        match message.stream.as_str() {
            "" => {
                out.push_str(&message.status);
                out.push_str(end);
            }
            stream => out.push_str(stream),
        }
        out
    }

    /// `[=====>     ]  1.2MB/3MB`, the bar only where there is room.
    fn bar(&self, detail: Detail) -> String {
        let size = |n: i64| crate::format::size::human(n as f64, 4);
        if detail.total <= 0 {
            return format!("{:>8}", size(detail.current));
        }
        let half = (detail.current.clamp(0, detail.total) * 50 / detail.total) as usize;
        let bar = match self.columns {
            0..=110 => String::new(),
            _ => format!("[{}>{}] ", "=".repeat(half), " ".repeat(50 - half)),
        };
        format!("{bar}{:>8}/{}", size(detail.current), size(detail.total))
    }
}
