//! Medians, and the table and plot made of them.

use std::{fmt::Write, num::NonZero, path::Path, thread};

use anyhow::Result;

/// What a row's figures are in.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Milliseconds,
    Kibibytes,
    /// Per cent of one core.
    Core,
    /// Of the same thing done without an engine.
    Ratio,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Kibibytes => "KiB",
            Self::Core => "% of a core",
            Self::Ratio => "× ext4",
        }
    }
}

/// A row with the figures of one or two engines.
pub(super) struct Measured {
    name: &'static str,
    unit: Unit,
    target: Option<f64>,
    ours: Figures,
    other: Option<Figures>,
}

struct Figures {
    median: f64,
    min: f64,
    max: f64,
}

impl Figures {
    fn new(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        Some(Self { median: *samples.get(samples.len() / 2)?, min: *samples.first()?, max: *samples.last()? })
    }

    fn text(&self) -> String {
        format!("{} ({}–{})", number(self.median), number(self.min), number(self.max))
    }
}

impl Measured {
    pub(super) fn new(name: &'static str, unit: Unit, target: Option<f64>, taken: Vec<Vec<f64>>) -> Self {
        let mut figures =
            taken.into_iter().map(|samples| Figures::new(samples).expect("a row takes samples"));
        let ours = figures.next().expect("one engine is ours");
        Self { name, unit, target, ours, other: figures.next() }
    }

    fn ratio(&self) -> Option<f64> {
        self.other.as_ref().map(|other| other.median / self.ours.median)
    }

    fn reached(&self) -> &'static str {
        match self.target {
            Some(target) if self.ours.median <= target => "yes",
            Some(_) => "**no**",
            None => "–",
        }
    }

    /// The row for a terminal.
    pub(super) fn line(&self) -> String {
        let mut line = format!("{}: {} {}", self.name, self.ours.text(), self.unit.name());
        if let (Some(other), Some(ratio)) = (&self.other, self.ratio()) {
            let _ = write!(line, ", other {} — {ratio:.1}×", other.text());
        }
        if let Some(target) = self.target {
            let _ = write!(
                line,
                ", target {} {}",
                number(target),
                if self.ours.median <= target { "✓" } else { "✗" }
            );
        }
        line
    }
}

fn number(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// Writes `latest.md` and `latest.svg`.
pub(super) fn write(dir: &Path, rows: &[Measured], other: Option<&str>) -> Result<()> {
    fs_err::create_dir_all(dir)?;
    fs_err::write(dir.join("latest.md"), table(rows, other))?;
    fs_err::write(dir.join("latest.svg"), plot(rows))?;
    eprintln!("written: {0}/latest.md, {0}/latest.svg", dir.display());
    Ok(())
}

/// The processors that measured. Whether they have instructions for SHA-256 decides about rows that hash.
fn machine() -> String {
    let text = fs_err::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.find_map(|(k, value)| (k.trim() == key).then(|| value.trim())).unwrap_or("?")
    };
    let has = value("flags").split(' ').any(|flag| flag == "sha_ni");
    let count = thread::available_parallelism().map_or(0, NonZero::get);
    let with = if has { "with" } else { "without" };
    format!("{count} × {}, {with} instructions for SHA-256.", value("model name"))
}

fn table(rows: &[Measured], other: Option<&str>) -> String {
    let other = other.unwrap_or("–");
    let mut text = format!(
        "Medians with minimum and maximum; the two engines took turns in one run, each beginning on a machine at rest.\n{}\n\n\
         | what | Skiff | {other} | ratio | target | reached |\n|---|---|---|---|---|---|\n",
        machine()
    );
    for row in rows {
        let unit = row.unit.name();
        let other = row.other.as_ref().map_or("–".into(), |f| format!("{} {unit}", f.text()));
        let ratio = row.ratio().map_or("–".into(), |r| format!("{r:.1}×"));
        let target = row.target.map_or("–".into(), |t| format!("{} {unit}", number(t)));
        let _ = writeln!(
            text,
            "| {} | {} {unit} | {other} | {ratio} | {target} | {} |",
            row.name,
            row.ours.text(),
            row.reached()
        );
    }
    text
}

/// A bar per row: how many times less than the other engine Skiff needs, on a logarithmic axis.
fn plot(rows: &[Measured]) -> String {
    const LEFT: usize = 420;
    const WIDTH: f64 = 360.0;
    const MOST: f64 = 1000.0;
    let rows: Vec<_> = rows.iter().filter_map(|row| Some((row.name, row.ratio()?))).collect();
    let height = 40 + rows.len() * 24;
    let x = |ratio: f64| WIDTH * ratio.clamp(1.0, MOST).log10() / MOST.log10();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"860\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"860\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for mark in [1.0, 10.0, 100.0, 1000.0] {
        let at = LEFT as f64 + x(mark);
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.0}\" y1=\"24\" x2=\"{at:.0}\" y2=\"{}\" stroke=\"#ccc\"/>\
             <text x=\"{at:.0}\" y=\"16\" text-anchor=\"middle\">{mark}×</text>",
            height - 8
        );
    }
    for (index, (name, ratio)) in rows.iter().enumerate() {
        let y = 30 + index * 24;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{:.0}\" height=\"16\" fill=\"#2a7ab0\"/>\
             <text x=\"{:.0}\" y=\"{}\">{ratio:.1}×</text>",
            LEFT - 8,
            y + 12,
            x(*ratio).max(1.0),
            LEFT as f64 + x(*ratio) + 6.0,
            y + 12
        );
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_median_range_and_ratio() {
        let row = Measured::new("x", Unit::Milliseconds, Some(5.0), vec![vec![3.0, 1.0, 2.0], vec![40.0]]);
        assert_eq!(row.line(), "x: 2.00 (1.00–3.00) ms, other 40.0 (40.0–40.0) — 20.0×, target 5.00 ✓");
        assert!(table(&[row], Some("Docker 1")).contains("| 20.0× | 5.00 ms | yes |"));
    }
}
