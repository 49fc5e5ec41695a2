//! `images --tree`, as docker draws it of an engine that has one platform for each image: names, the image below its last one, and
//! whether a container uses it.

use super::images::Summary;
use crate::{
    failure::{Failure, Outcome},
    format::size,
    grammar::Matches,
    listing::short_id,
    say,
    streams::terminal,
};

const WARNING: &str =
    "WARNING: This is an experimental feature. The output may change and shouldn't be depended on.";
/// Columns between columns.
const GAP: usize = 3;
/// Beside the names: title, width, whether it stands at the right.
const COLUMNS: [(&str, usize, bool); 4] =
    [("ID", 12, false), ("DISK USAGE", 10, true), ("CONTENT SIZE", 12, true), ("EXTRA", 5, false)];

const BOLD: &str = "\x1b[39m\x1b[1m";
const NAME: &str = "\x1b[34m\x1b[1m";
const UNTAGGED: &str = "\x1b[39m\x1b[2m";
const PLAIN: &str = "\x1b[39m";
const CHIP: &str = "\x1b[38;5;0m\x1b[48;5;14m";
const END: &str = "\x1b[0m";

/// Refuses options that docker does not take with it.
pub(super) fn check(matches: &Matches) -> Outcome {
    let with = [("quiet", "quiet"), ("no-trunc", "no-trunc"), ("digests", "show-digest")];
    let wrong = with.iter().find(|(flag, _)| matches.on(flag)).map(|(_, name)| *name);
    match wrong.or((!matches.text("format").is_empty()).then_some("format")) {
        Some(name) => Err(Failure::new(format!("--{name} is not yet supported with --tree"))),
        None => Ok(()),
    }
}

/// Prints them, newest first.
pub(super) fn print(mut images: Vec<Summary>) {
    images.sort_by_key(|image| std::cmp::Reverse(image.created));
    let terminal = terminal::stdout_is_terminal();
    let width = match terminal::size() {
        (_, columns) if terminal && columns > 0 => usize::from(columns),
        _ => 80,
    };
    say::print(draw(&images, terminal, width).as_bytes());
}

fn draw(images: &[Summary], terminal: bool, width: usize) -> String {
    let styled = |style: &str, text: &str| match (terminal, text.is_empty()) {
        (true, false) => format!("{style}{text}{END}"),
        _ => text.to_owned(),
    };
    let names = images.iter().flat_map(tags).map(|name| name.chars().count());
    let first = names.max().unwrap_or(0).max("IMAGE".len());
    let mut used = first;
    let fits = |column: &&(&str, usize, bool)| {
        used += GAP + column.1;
        used <= width
    };
    let columns: Vec<_> = COLUMNS.iter().take_while(fits).collect();
    let warning = if terminal { format!("\x1b[93m{WARNING}{END}") } else { WARNING.to_owned() };
    let mut out = format!("{warning}\n{}\n\n", legend(terminal, width));
    out.push_str(&format!("{BOLD}IMAGE{END}{}", blanks(first - "IMAGE".len())));
    for (title, width, _) in &columns {
        out.push_str(&format!("{}{BOLD}{title}{END}{}", blanks(GAP), blanks(width - title.len())));
    }
    out.push('\n');
    for image in images {
        let names = tags(image);
        for (n, name) in names.iter().enumerate() {
            let style = if image.has_tags() { NAME } else { UNTAGGED };
            out.push_str(&styled(style, name));
            if n + 1 < names.len() {
                out.push('\n');
                continue;
            }
            out.push_str(&blanks(first - name.chars().count()));
            let content = [
                short_id(&image.id).to_owned(),
                size::human(image.size as f64, 3),
                "0B".to_owned(),
                if image.containers > 0 { "U".to_owned() } else { String::new() },
            ];
            for ((title, width, right), text) in columns.iter().zip(&content) {
                let (chip, text) = match *title == "EXTRA" && terminal && !text.is_empty() {
                    true => (true, format!(" {text} ")),
                    false => (false, text.clone()),
                };
                let pad = blanks(width.saturating_sub(text.chars().count()));
                let text = styled(if chip { CHIP } else { PLAIN }, &text);
                let cell = if *right { format!("{pad}{text}") } else { format!("{text}{pad}") };
                out.push_str(&format!("{}{cell}", blanks(GAP)));
            }
            out.push('\n');
        }
    }
    out
}

/// What the mark means, at the right end of the line.
fn legend(terminal: bool, width: usize) -> String {
    let (plain, shown) = match terminal {
        true => {
            let mark = format!("{CHIP} U {END} In Use ");
            (21, format!("\x1b[1m\x1b[106m\x1b[30mi{END}{END} \x1b[96mInfo → {END}{END} {mark}"))
        }
        false => (18, "Info ->  U In Use ".to_owned()),
    };
    blanks(width.saturating_sub(plain)) + &shown
}

fn blanks(n: usize) -> String {
    " ".repeat(n)
}

impl Summary {
    fn has_tags(&self) -> bool {
        self.repo_tags.as_ref().is_some_and(|tags| !tags.is_empty() && tags != &["<none>:<none>"])
    }
}

/// The names of an image.
fn tags(image: &Summary) -> Vec<&str> {
    match &image.repo_tags {
        Some(tags) if image.has_tags() => tags.iter().map(String::as_str).collect(),
        _ => vec!["<untagged>"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: &str, tags: &[&str], containers: i64) -> Summary {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Summary {
            id: format!("sha256:{id}"),
            repo_tags: Some(tags),
            size: 1_982_256,
            containers,
            ..Summary::default()
        }
    }

    /// Recorded from Docker 28.5.2.
    #[test]
    fn images_are_drawn_as_docker_draws_them() {
        let images = [
            image("6ca305f866421111", &["busybox:latest"], 1),
            image("b8c9f50919901111", &[], 0),
            image("ca442729738c1111", &["a:1", "recbb:latest"], 0),
        ];
        let head = "\x1b[39m\x1b[1mIMAGE\x1b[0m            \x1b[39m\x1b[1mID\x1b[0m             \x1b[39m\x1b[1mDISK USAGE\x1b[0m   \
                    \x1b[39m\x1b[1mCONTENT SIZE\x1b[0m   \x1b[39m\x1b[1mEXTRA\x1b[0m\n";
        let legend = format!("{}Info ->  U In Use ", " ".repeat(62));
        assert_eq!(
            draw(&images, false, 80),
            format!(
                "{WARNING}\n{legend}\n\n{head}\
                 busybox:latest   6ca305f86642       1.98MB             0B   U    \n\
                 <untagged>       b8c9f5091990       1.98MB             0B        \n\
                 a:1\n\
                 recbb:latest     ca442729738c       1.98MB             0B        \n"
            )
        );
        let drawn = draw(&images, true, 130);
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(
            lines[1],
            format!(
                "{}\x1b[1m\x1b[106m\x1b[30mi\x1b[0m\x1b[0m \x1b[96mInfo → \x1b[0m\x1b[0m \x1b[38;5;0m\x1b[48;5;14m U \x1b[0m In Use ",
                " ".repeat(109)
            )
        );
        assert_eq!(
            lines[4],
            "\x1b[34m\x1b[1mbusybox:latest\x1b[0m   \x1b[39m6ca305f86642\x1b[0m       \x1b[39m1.98MB\x1b[0m             \
             \x1b[39m0B\x1b[0m   \x1b[38;5;0m\x1b[48;5;14m U \x1b[0m  "
        );
        assert!(lines[5].starts_with("\x1b[39m\x1b[2m<untagged>\x1b[0m       \x1b[39mb8c9f5091990\x1b[0m"));
    }

    #[test]
    fn a_narrow_terminal_has_fewer_columns() {
        let images = [image("6ca305f866421111", &["busybox:latest"], 1)];
        for (width, last) in [(60, "CONTENT SIZE"), (50, "DISK USAGE"), (32, "ID"), (20, "IMAGE")] {
            let drawn = draw(&images, true, width);
            let head = drawn.lines().nth(3).unwrap().trim_end();
            assert!(head.ends_with(&format!("{last}\x1b[0m")), "{width}: {head:?}");
        }
    }
}
