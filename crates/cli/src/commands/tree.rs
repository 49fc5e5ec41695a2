//! `images --tree`, as docker draws it: names, the image beside its last one, below it the images of the index that it was
//! published in, and whether a container uses them.

use super::images::{ImageData, Manifest, Summary};
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

/// A line of the tree: a name, and what is in the columns beside it unless another name follows.
struct Line {
    name: String,
    /// How the name is shown.
    style: &'static str,
    /// How the columns are.
    columns: &'static str,
    details: Option<[String; 4]>,
}

fn lines(image: &Summary) -> Vec<Line> {
    let children: Vec<(&Manifest, &ImageData)> =
        image.manifests.iter().filter_map(|m| Some((m, m.image_data.as_ref()?))).collect();
    let used = image.containers > 0 || children.iter().any(|(_, data)| !data.containers.is_empty());
    let content = image.manifests.iter().map(|manifest| manifest.size.content).sum();
    let style = if image.has_tags() { NAME } else { UNTAGGED };
    let names = tags(image).into_iter();
    let name = |name: &str| Line { name: name.to_owned(), style, columns: PLAIN, details: None };
    let mut lines: Vec<Line> = names.map(name).collect();
    if let Some(last) = lines.last_mut() {
        last.details = Some(details(&image.id, image.size, content, used));
    }
    for (n, (manifest, data)) in children.iter().enumerate() {
        let branch = if n + 1 < children.len() { "├─" } else { "└─" };
        let style = if manifest.available { PLAIN } else { UNTAGGED };
        let used = !data.containers.is_empty();
        lines.push(Line {
            name: format!("{branch} {}", data.platform.to_text()),
            style,
            columns: style,
            details: Some(details(&manifest.id, manifest.size.total, manifest.size.content, used)),
        });
    }
    lines
}

fn details(id: &str, total: i64, content: i64, used: bool) -> [String; 4] {
    let used = if used { "U".to_owned() } else { String::new() };
    [short_id(id).to_owned(), size::human(total as f64, 3), size::human(content as f64, 3), used]
}

fn draw(images: &[Summary], terminal: bool, width: usize) -> String {
    let styled = |style: &str, text: &str| match (terminal, text.is_empty()) {
        (true, false) => format!("{style}{text}{END}"),
        _ => text.to_owned(),
    };
    let groups: Vec<Vec<Line>> = images.iter().map(lines).collect();
    let names = groups.iter().flatten().map(|line| line.name.chars().count());
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
    let spaced = images.iter().any(|image| image.manifests.iter().any(|m| m.image_data.is_some()));
    for group in &groups {
        for line in group {
            out.push_str(&styled(line.style, &line.name));
            if let Some(details) = &line.details {
                out.push_str(&blanks(first - line.name.chars().count()));
                for ((title, width, right), text) in columns.iter().zip(details) {
                    let (chip, text) = match *title == "EXTRA" && terminal && !text.is_empty() {
                        true => (true, format!(" {text} ")),
                        false => (false, text.clone()),
                    };
                    let pad = blanks(width.saturating_sub(text.chars().count()));
                    let text = styled(if chip { CHIP } else { line.columns }, &text);
                    let cell = if *right { format!("{pad}{text}") } else { format!("{text}{pad}") };
                    out.push_str(&format!("{}{cell}", blanks(GAP)));
                }
            }
            out.push('\n');
        }
        if spaced {
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
    use super::{super::images::ManifestSize, *};
    use crate::options::platform::Platform;

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

    /// Recorded from Docker 28.5.2 with containerd's image store.
    #[test]
    fn images_of_an_index_are_below_their_name() {
        let manifest = |id: &str, architecture: &str, total, content, containers: usize| Manifest {
            id: format!("sha256:{id}"),
            available: total > 0,
            size: ManifestSize { total, content },
            image_data: Some(ImageData {
                platform: Platform::parse(&format!("linux/{architecture}")).unwrap(),
                containers: vec!["x".to_owned(); containers],
            }),
        };
        let image = Summary {
            size: 8_040_000,
            manifests: vec![
                manifest("99189850b660", "amd64", 8_040_000, 3_980_000, 1),
                Manifest::default(),
                manifest("fc2eb700f863", "arm64", 0, 0, 0),
            ],
            ..image("59cdfc5b12c0", &["127.0.0.1:5070/t/att:1"], 0)
        };
        let drawn = draw(std::slice::from_ref(&image), false, 80);
        assert!(
            drawn.ends_with(
                "\n127.0.0.1:5070/t/att:1   59cdfc5b12c0       8.04MB         3.98MB   U    \n\
                 ├─ linux/amd64           99189850b660       8.04MB         3.98MB   U    \n\
                 └─ linux/arm64           fc2eb700f863           0B             0B        \n\n"
            ),
            "{drawn}"
        );
        let drawn = draw(&[image], true, 130);
        let absent = "\x1b[39m\x1b[2m└─ linux/arm64\x1b[0m           \x1b[39m\x1b[2mfc2eb700f863\x1b[0m           \
                      \x1b[39m\x1b[2m0B\x1b[0m             \x1b[39m\x1b[2m0B\x1b[0m        \n\n";
        assert!(drawn.ends_with(absent), "{drawn:?}");
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
