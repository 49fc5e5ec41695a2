//! `--help`, as cobra and pflag lay it out.

use super::{Command, Entry, Flag, Group, Kind, Node, Section};

/// Help of a command, called by `path` (`docker run`).
pub(crate) fn command_help(command: &Command, path: &str, columns: usize) -> String {
    let mut out = format!("Usage:  {}\n\n{}\n", command.use_line(path), command.about);
    if !command.aliases.is_empty() {
        let program = path.split(' ').next().unwrap_or_default();
        let aliases = command.aliases.replace("docker ", &format!("{program} "));
        out.push_str(&format!("\nAliases:\n  {aliases}\n"));
    }
    // Called as docker it is what docker says.
    let own = path.split(' ').next() != Some("docker");
    let flags: Vec<&Flag> = command.all_flags().filter(|flag| own || !flag.own).collect();
    if flags.iter().any(|f| !f.hidden) {
        out.push_str("\nOptions:\n");
        out.push_str(flag_usages(&flags, &[], columns).trim_end());
        out.push('\n');
    }
    out
}

/// Help of a word with commands below it.
pub(crate) fn group_help(group: &Group, path: &str) -> String {
    format!(
        "Usage:  {path} COMMAND\n\n{}\n{}\nRun '{path} COMMAND --help' for more information on a command.\n",
        group.about,
        section(group, Section::Plain, "Commands"),
    )
}

/// Help of the whole program; `defaults` are those of global options, known only now.
pub(crate) fn root_help(
    root: &Group,
    globals: &[&Flag],
    program: &str,
    defaults: &[(&str, String)],
    columns: usize,
) -> String {
    format!(
        "Usage:  {program} [OPTIONS] COMMAND\n\n{}\n{}{}{}\nGlobal Options:\n{}\n\n\
         Run '{program} COMMAND --help' for more information on a command.\n",
        root.about,
        section(root, Section::Common, "Common Commands"),
        section(root, Section::Management, "Management Commands"),
        section(root, Section::Plain, "Commands"),
        flag_usages(globals, defaults, columns).trim_end(),
    )
}

fn section(group: &Group, section: Section, title: &str) -> String {
    let about = |entry: &Entry| match entry.node {
        Node::Group(group) => group.about,
        Node::Command(command) => command.about,
    };
    let mut out = format!("\n{title}:\n");
    for entry in group.entries.iter().filter(|e| e.section == section) {
        // A list has the first sentence alone.
        let about = about(entry).lines().next().unwrap_or_default().trim_end_matches('.');
        out.push_str(&format!("  {:<11} {about}\n", entry.name));
    }
    out
}

/// The options, in columns, by name; long texts are wrapped to the terminal.
fn flag_usages(flags: &[&Flag], defaults: &[(&str, String)], columns: usize) -> String {
    let mut shown: Vec<&Flag> = flags.iter().copied().filter(|f| !f.hidden).collect();
    shown.sort_by_key(|f| f.long);
    let heads: Vec<String> = shown.iter().map(|f| head(f)).collect();
    let width = heads.iter().map(String::len).max().unwrap_or_default() + 3;
    let mut out = String::new();
    for (flag, head) in shown.iter().zip(&heads) {
        let mut text = flag.help.to_owned();
        let default = defaults.iter().find(|(name, _)| *name == flag.long).map(|(_, d)| d.as_str());
        let default = default.unwrap_or(flag.default);
        if !default.is_empty() {
            match flag.kind {
                Kind::One(of) if of.name == "string" => text.push_str(&format!(" (default {default:?})")),
                _ => text.push_str(&format!(" (default {default})")),
            }
        }
        out.push_str(&format!("{head:<width$}{}\n", wrap(width, columns.saturating_sub(1), &text)));
    }
    out
}

fn head(flag: &Flag) -> String {
    let short = match flag.short {
        '\0' => "      ".to_owned(),
        letter => format!("  -{letter}, "),
    };
    match flag.kind {
        Kind::Switch => format!("{short}--{}", flag.long),
        Kind::One(of) | Kind::Many(of) => format!("{short}--{} {}", flag.long, of.name),
    }
}

/// Wraps `text` to `columns`, every line but the first indented. Where there is no room beside the option, the text
/// starts on the next line; a last word may stand out by five columns rather than alone.
fn wrap(indent: usize, columns: usize, text: &str) -> String {
    const SLOP: usize = 5;
    const NARROW: usize = 16;
    let mut indent = indent;
    let mut out = String::new();
    let margin = |indent: usize| format!("\n{}", " ".repeat(indent));
    if columns == 0 {
        return text.replace('\n', &margin(indent));
    }
    if columns.saturating_sub(indent) < 24 {
        indent = NARROW;
        if columns.saturating_sub(indent) < 24 {
            return text.replace('\n', &margin(indent));
        }
        out.push_str(&margin(indent));
    }
    let room = columns - indent - SLOP;
    let margin = margin(indent);
    let mut rest = text;
    loop {
        let (line, tail) = take_line(room, SLOP, rest);
        out.push_str(&line.replace('\n', &margin));
        if tail.is_empty() {
            return out;
        }
        out.push_str(&margin);
        rest = tail;
    }
}

/// The first line of `text` and the rest of it.
fn take_line(room: usize, slop: usize, text: &str) -> (&str, &str) {
    if room + slop > text.len() || !text.is_char_boundary(room) {
        return (text, "");
    }
    let Some(space) = text[..room].rfind([' ', '\t', '\n']).filter(|at| *at > 0) else {
        return (text, "");
    };
    let cut = match text[..room].rfind('\n') {
        Some(newline) if newline > 0 && newline < space => newline,
        _ => space,
    };
    (&text[..cut], &text[cut + 1..])
}
