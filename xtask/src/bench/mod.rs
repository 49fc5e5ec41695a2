//! `cargo xtask bench`: measures every row of the targets, each against another engine in the same run.
//!
//! The two engines take turns, so that a machine that slows down slows both; the ratio is what to believe. Each turn begins
//! on a machine at rest: an engine pays for what it still does after its answers, and not for what the other does.
//! Nothing here is asserted: the figures go to bench/results/.

mod containers;
mod files;
mod images;
mod logs;
mod memory;
mod network;
mod registry;
mod report;
mod rest;
mod served;
mod subject;
mod volumes;
mod watch;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use report::{Measured, Unit};
use subject::Subject;

pub(crate) const USAGE: &str = "\
usage: cargo xtask bench [--against SOCKET] [--cli PROGRAM] [--rows PREFIX[,PREFIX…]] [--quick]
                         [--binary FILE] [--rootfs TAR] [--results DIR]

  --against SOCKET  the other engine, e.g. unix socket of a dockerd
  --cli PROGRAM     the other engine's own command line (default: docker)
  --rows …          only rows whose name starts so
  --quick           a fifth of the samples
  --binary FILE     measure this binary instead of building the release profile
  --rootfs TAR      the root file system that import, load and save move (default: a generated one of 200 MB)
  --results DIR     where the table and the plot go (default: bench/results)
";

/// How often each engine has its turn, with an equal part of the samples.
const TURNS: usize = 5;

/// What to measure and against whom.
struct Options {
    against: Option<PathBuf>,
    cli: PathBuf,
    rows: Vec<String>,
    quick: bool,
    binary: Option<PathBuf>,
    rootfs: Option<PathBuf>,
    results: PathBuf,
}

/// One line of the table: how to take one sample.
struct Row {
    name: &'static str,
    /// What Skiff must reach, in the row's unit.
    target: Option<f64>,
    unit: Unit,
    samples: usize,
    /// Puts the subject into the state that the samples need.
    prepare: fn(&mut Subject) -> Result<()>,
    sample: fn(&mut Subject) -> Result<f64>,
    /// Removes what `prepare` made.
    finish: fn(&mut Subject) -> Result<()>,
    /// Whether another engine can be measured in the same way.
    comparable: bool,
}

impl Row {
    const fn new(
        name: &'static str,
        unit: Unit,
        samples: usize,
        sample: fn(&mut Subject) -> Result<f64>,
    ) -> Self {
        Self {
            name,
            target: None,
            unit,
            samples,
            prepare: nothing,
            sample,
            finish: nothing,
            comparable: true,
        }
    }

    const fn target(mut self, target: f64) -> Self {
        self.target = Some(target);
        self
    }

    const fn around(
        mut self,
        prepare: fn(&mut Subject) -> Result<()>,
        finish: fn(&mut Subject) -> Result<()>,
    ) -> Self {
        self.prepare = prepare;
        self.finish = finish;
        self
    }

    const fn only_ours(mut self) -> Self {
        self.comparable = false;
        self
    }
}

fn nothing(_: &mut Subject) -> Result<()> {
    Ok(())
}

/// Runs `cargo xtask bench` with its arguments.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Result<()> {
    let options = parse(args)?;
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => subject::build()?,
    };
    let mut subjects = vec![Subject::ours(&binary)?];
    if let Some(socket) = &options.against {
        subjects.push(Subject::other(socket, &options.cli)?);
    }
    for subject in &mut subjects {
        subject.rootfs = options.rootfs.clone();
        subject.prepare()?;
    }
    let rows = containers::ROWS
        .iter()
        .chain(logs::ROWS)
        .chain(memory::ROWS)
        .chain(images::ROWS)
        .chain(files::ROWS)
        .chain(volumes::ROWS)
        .chain(network::ROWS)
        .chain(watch::ROWS)
        .chain(registry::ROWS)
        .chain(served::ROWS);
    let mut measured = Vec::new();
    for row in
        rows.filter(|row| options.rows.is_empty() || options.rows.iter().any(|p| row.name.starts_with(p)))
    {
        let samples = if options.quick { row.samples.div_ceil(5) } else { row.samples };
        let result = measure(row, samples, &mut subjects).with_context(|| format!("row {:?}", row.name));
        match result {
            Ok(result) => {
                eprintln!("{}", result.line());
                measured.push(result);
            }
            Err(error) => eprintln!("{}: not measured: {error:#}", row.name),
        }
    }
    report::write(&options.results, &measured, subjects.get(1).map(Subject::version))
}

fn measure(row: &Row, samples: usize, subjects: &mut [Subject]) -> Result<Measured> {
    let count = if row.comparable { subjects.len() } else { 1 };
    let subjects = &mut subjects[..count];
    let mut taken = vec![Vec::new(); count];
    for subject in subjects.iter_mut() {
        (row.prepare)(subject)?;
    }
    let outcome = (|| {
        // The first of each is a warm-up.
        for subject in subjects.iter_mut() {
            (row.sample)(subject).with_context(|| subject.name().to_owned())?;
        }
        let turn = samples.div_ceil(TURNS);
        for first in (0..samples).step_by(turn) {
            for (subject, taken) in subjects.iter_mut().zip(&mut taken) {
                rest::wait()?;
                for _ in first..samples.min(first + turn) {
                    taken.push((row.sample)(subject).with_context(|| subject.name().to_owned())?);
                }
            }
        }
        Ok(())
    })();
    for subject in subjects.iter_mut() {
        (row.finish)(subject)?;
    }
    outcome.map(|()| Measured::new(row.name, row.unit, row.target, taken))
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options {
        against: None,
        cli: "docker".into(),
        rows: Vec::new(),
        quick: false,
        binary: None,
        rootfs: None,
        results: crate::root().join("bench/results"),
    };
    while let Some(flag) = args.next() {
        let mut value = || args.next().with_context(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--against" => options.against = Some(value()?.trim_start_matches("unix://").into()),
            "--cli" => options.cli = value()?.into(),
            "--rows" => options.rows = value()?.split(',').map(str::to_owned).collect(),
            "--quick" => options.quick = true,
            "--binary" => options.binary = Some(value()?.into()),
            "--rootfs" => options.rootfs = Some(value()?.into()),
            "--results" => options.results = value()?.into(),
            _ => bail!("unknown option {flag}\n{USAGE}"),
        }
    }
    Ok(options)
}
