//! Tests in the machine: which, and the script that runs them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::disk::Disk;
use super::packages::Kernel;
use crate::root;

/// A test binary, by cargo's name of its target, and parts of the names of those of its tests that are run; all if there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suite {
    target: String,
    filters: Vec<String>,
}

/// What a change must pass to land on every kernel: (target, part of a test's name). What depends on the kernel and on cgroup v2, and nothing twice.
const CORE: &[(&str, &str)] = &[
    ("blackbox", ""),
    ("skiff_runtime", "cgroups::"),
    ("kernel", "devices::"),
    ("kernel", "labels::"),
    ("parents", ""),
    ("reach", ""),
    ("faults", "quota::"),
];

/// Beside it, where EROFS is not mounted from files.
const CORE_OVERLAY: &[(&str, &str)] = &[("skiff_snapshots", "overlay2_conforms")];

/// Beside it, where it is.
const CORE_EROFS: &[(&str, &str)] = &[("skiff_snapshots", "erofs_conforms"), ("daemon", "")];

impl Suite {
    /// Those of the core for this kernel.
    pub(crate) fn core(kernel: Kernel) -> Vec<Self> {
        let more = match kernel {
            Kernel::Stable => CORE_OVERLAY,
            Kernel::Backports => CORE_EROFS,
        };
        Self::collect(CORE.iter().chain(more).map(|(target, filter)| (*target, Some(*filter))))
    }

    /// Those that a command line names: `TARGET` or `TARGET=FILTER`.
    pub(crate) fn parse(words: &[String]) -> Vec<Self> {
        Self::collect(words.iter().map(|word| {
            word.split_once('=').map_or((word.as_str(), None), |(target, filter)| (target, Some(filter)))
        }))
    }

    fn collect<'a>(pairs: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Vec<Self> {
        let mut suites: Vec<Self> = Vec::new();
        for (target, filter) in pairs {
            let filter = filter.map(str::to_owned);
            match suites.iter_mut().find(|suite| suite.target == target) {
                Some(suite) => suite.filters.extend(filter),
                None => {
                    suites.push(Self { target: target.to_owned(), filters: filter.into_iter().collect() })
                }
            }
        }
        suites
    }
}

/// A program that cargo has built. In the machine it has the path it has here: tests have the paths of the programs they run compiled into them.
pub(crate) struct Executable {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    is_test: bool,
}

/// Builds every test of the workspace, so that nothing is built twice for `cargo nextest run --workspace`, and what they run; asks cargo where all that is.
pub(crate) fn build() -> Result<Vec<Executable>> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]);
    let output =
        command.current_dir(root()).stderr(Stdio::inherit()).output().context("cannot run cargo test")?;
    if !output.status.success() {
        bail!("the tests do not build");
    }
    let mut executables = Vec::new();
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let message: serde_json::Value = serde_json::from_slice(line).context("cargo does not speak JSON")?;
        let Some(path) = message["executable"].as_str() else { continue };
        let name = message["target"]["name"].as_str().unwrap_or("test").to_owned();
        executables.push(Executable { name, path: path.into(), is_test: message["profile"]["test"] == true });
    }
    Ok(executables)
}

/// What tests run besides themselves.
const PROGRAMS: [&str; 2] = ["skiff", "skiff-runtime"];

/// The script's path.
pub(crate) const SCRIPT: &str = "run-tests";

/// The loop mirrors nextest: a process for each test. Suites that can are run against one daemon, started as a user would, for starting one for each
/// test takes most of the time.
const RUN_TESTS: &str = r#"
export SKIFF_TEST_APPARMOR=1 SKIFF_TEST_QUOTAS=1
uptime() { cut -d ' ' -f 1 /proc/uptime; }
while read -r name binary filters; do
  unset SKIFF_TEST_SOCKET
  case $name in blackbox|cli)
    export SKIFF_TEST_SOCKET=/run/skiff/skiff.sock
    [ -e $SKIFF_TEST_SOCKET ] || { SKIFF daemon > /daemon.log 2>&1 & }
    while ! [ -e $SKIFF_TEST_SOCKET ]; do sleep 0.1; done ;;
  esac
  $binary --list --format terse $filters 2>/dev/null | sed -n 's/: test$//p' > /run/list
  $binary --list --format terse --ignored 2>/dev/null | sed -n 's/: test$//p' > /run/ignored
  # The machine has no browser.
  grep '^browser::' /run/list >> /run/ignored
  # It has no CNI plugins, and no iptables, which they run.
  echo own::a_network_may_be_made_by_cni_plugins >> /run/ignored
  while read -r test; do
    grep -qxF "$test" /run/ignored && continue
    echo "@@begin $name $test"
    begin=$(uptime)
    if timeout -s KILL 600 $binary --exact "$test" > /run/log 2>&1 < /dev/null; then result=pass; else result=fail; cat /run/log; fi
    echo "@@$result $name $test $(echo "$(uptime) $begin - p" | dc)"
  done < /run/list
done < /etc/tests
SKIFF --host unix:///run/skiff/skiff.sock info | grep -A 3 -e 'Storage Driver' -e 'Cgroup' -e 'Security'
[ -e /daemon.log ] && grep -v -e INFO -e DEBUG /daemon.log
echo "@@done"
poweroff -f
"#;

/// The path of a program, which is neither a test nor a library.
pub(crate) fn program<'a>(executables: &'a [Executable], name: &str) -> Result<&'a Path> {
    let found = executables.iter().find(|e| !e.is_test && e.name == name);
    Ok(&found.with_context(|| format!("cargo has not built {name}"))?.path)
}

/// Puts the suites on a disk.
pub(crate) fn install(disk: &mut Disk, executables: &[Executable], suites: &[Suite]) -> Result<()> {
    for name in PROGRAMS {
        let path = program(executables, name)?;
        disk.add_program(path, path)?;
    }
    let mut list = String::new();
    for Suite { target, filters } in suites {
        let found = executables.iter().find(|e| e.is_test && e.name == *target);
        let Executable { path, .. } = found.with_context(|| format!("there are no tests called {target}"))?;
        disk.add_program(path, path)?;
        list.push_str(&format!("{target} {} {}\n", path.display(), filters.join(" ")));
    }
    disk.write("etc/tests", &list)?;
    let skiff = program(executables, "skiff")?.to_string_lossy();
    disk.script(SCRIPT, &RUN_TESTS.replace("SKIFF ", &format!("{skiff} ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_one_target_come_together() {
        let words = ["kernel=cgroups::", "cli", "kernel=devices::"].map(str::to_owned);
        let suites = Suite::parse(&words);
        let shown: Vec<_> = suites.iter().map(|s| (s.target.as_str(), s.filters.join(" "))).collect();
        assert_eq!(shown, [("kernel", "cgroups:: devices::".to_owned()), ("cli", String::new())]);
    }
}
