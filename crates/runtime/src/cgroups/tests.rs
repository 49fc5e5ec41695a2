//! Cgroups on the real kernel, whichever of the three shapes this machine has. Every test works below a directory of its own and takes it away.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::Pid;
use serde_json::{Value, json};

use super::*;

/// A cgroup `/skiff-test-PID-N/inner`, removed with everything in it.
struct Scratch {
    layout: Layout,
    group: Cgroup,
    parent: Cgroup,
}

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let layout = Layout::probe().expect("cgroups are mounted where the tests run");
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let top = format!("/skiff-test-{}-{count}", std::process::id());
        let parent = Cgroup::open(&layout, &path(&top));
        let group = Cgroup::create(&layout, &path(&format!("{top}/inner"))).expect("created");
        Self { layout, group, parent }
    }

    fn apply(&self, resources: Value) -> Result<(), CgroupError> {
        let resources = serde_json::from_value(resources).expect("a resources section");
        let current = self.group.current()?;
        self.group.apply(&plan(&resources, &[], &self.layout, current)?)
    }

    fn read(&self, controller: Controller, v1: &str, v2: &str) -> String {
        let file = if self.layout.is_unified() { v2 } else { v1 };
        let directory = self.group.directory(controller).expect("the controller is there");
        fs_err::read_to_string(directory.join(file)).expect("readable").trim().to_owned()
    }

    /// A shell that waits in the cgroup for a line on its standard input, and then runs the script.
    fn shell(&self, script: &str) -> Shell {
        let script = format!("read line; {script}");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.spawn().expect("there is a shell");
        self.group.join(Pid::from_child(&child)).expect("it can join");
        Shell { child }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Who may not run cannot die either.
        _ = self.apply(json!({"cpu": {"quota": -1}}));
        _ = self.group.kill_all();
        _ = self.group.thaw();
        let removed = self.parent.remove();
        if !std::thread::panicking() {
            removed.expect("nothing is left behind");
        }
    }
}

struct Shell {
    child: Child,
}

impl Shell {
    fn go(&mut self) {
        self.child.stdin.as_mut().expect("a pipe").write_all(b"\n").expect("it still reads");
    }

    fn finish(mut self) -> (ExitStatus, String) {
        self.go();
        let mut output = String::new();
        self.child.stdout.take().expect("a pipe").read_to_string(&mut output).expect("text");
        (self.child.wait().expect("it ends"), output)
    }

    fn id(&self) -> i32 {
        self.child.id() as i32
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn path(path: &str) -> CgroupPath {
    CgroupPath::parse(path).expect("a good path")
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} does not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn paths_are_checked() {
    assert_eq!(path("skiff//x/./y/").as_str(), "/skiff/x/y");
    let refused = [
        ("system.slice:docker:abc", "the systemd cgroup driver is not supported; give a path"),
        ("/a/../../b", r#"it contains "..""#),
        ("//", "it names the root"),
        ("a\0b", "it contains a NUL"),
    ];
    for (text, reason) in refused {
        let expected = format!("invalid cgroup path {text:?}: {reason}");
        assert_eq!(CgroupPath::parse(text).expect_err(reason).to_string(), expected);
    }
    assert_eq!(path("/kubepods/a:b:c").as_str(), "/kubepods/a:b:c", "colons in a path are only colons");
}

#[test]
fn created_once_and_removed_with_what_is_below() {
    let scratch = Scratch::new();
    assert!(scratch.group.is_fresh() && scratch.group.exists());
    let parts: Vec<_> = scratch.group.directories().map(Path::to_owned).collect();
    assert!(parts.iter().all(|directory| directory.is_dir()));
    let top = parts[0].parent().and_then(Path::file_name).expect("named").to_string_lossy().into_owned();
    let again = Cgroup::create(&scratch.layout, &path(&format!("/{top}/inner"))).expect("it may exist");
    assert!(!again.is_fresh());

    fs_err::create_dir_all(parts[0].join("below/deep")).expect("made");
    scratch.group.remove().expect("removed");
    assert!(!scratch.group.exists());
    scratch.group.remove().expect("what is gone is fine");
    assert_eq!(scratch.group.pids(), Ok(Vec::new()), "nobody is in what does not exist");
}

#[test]
fn removal_says_when_somebody_is_still_in_it() {
    let scratch = Scratch::new();
    let shell = scratch.shell("true");
    let error = scratch.group.remove().expect_err("a process is in it");
    assert!(matches!(error, CgroupError::Busy { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    drop(shell);
}

#[test]
fn limits_are_in_force() {
    let scratch = Scratch::new();
    let resources = json!({
        "memory": {"limit": 67108864, "reservation": 33554432},
        "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0"},
        "pids": {"limit": 42},
    });
    scratch.apply(resources).expect("applied");
    assert_eq!(scratch.read(Controller::Memory, "memory.limit_in_bytes", "memory.max"), "67108864");
    assert_eq!(scratch.read(Controller::Memory, "memory.soft_limit_in_bytes", "memory.low"), "33554432");
    assert_eq!(scratch.read(Controller::Pids, "pids.max", "pids.max"), "42");
    assert_eq!(scratch.read(Controller::Cpuset, "cpuset.cpus", "cpuset.cpus"), "0");
    let cpu = scratch.read(Controller::Cpu, "cpu.cfs_quota_us", "cpu.max");
    assert_eq!(cpu, if scratch.layout.is_unified() { "50000 100000" } else { "50000" });
    let shares = scratch.read(Controller::Cpu, "cpu.shares", "cpu.weight");
    assert_eq!(shares, if scratch.layout.is_unified() { "59" } else { "512" });
}

#[test]
fn memory_and_swap_go_up_and_down_while_in_force() {
    let scratch = Scratch::new();
    for mib in [64i64, 256, 32, 128] {
        scratch.apply(json!({"memory": {"limit": mib << 20, "swap": mib << 21}})).expect("applied");
        let limit = scratch.read(Controller::Memory, "memory.limit_in_bytes", "memory.max");
        assert_eq!(limit, (mib << 20).to_string());
    }
    scratch.apply(json!({"memory": {"limit": -1}})).expect("lifted");
    let stats = scratch.group.stats().expect("readable");
    assert!(stats.memory.usage.limit > 1 << 50, "{}", stats.memory.usage.limit);
}

#[test]
fn a_period_and_quota_that_only_fit_together() {
    let scratch = Scratch::new();
    // The parent allows one processor; half a processor over a short period must not run into the long old one.
    let parent =
        serde_json::from_value(json!({"cpu": {"quota": 100000, "period": 100000}})).expect("a section");
    let plan = plan(&parent, &[], &scratch.layout, Current::default()).expect("plannable");
    scratch.parent.apply(&plan).expect("applied");
    scratch.apply(json!({"cpu": {"quota": 90000, "period": 100000}})).expect("applied");
    scratch.apply(json!({"cpu": {"quota": 5000, "period": 10000}})).expect("applied");
    let quota = scratch.read(Controller::Cpu, "cpu.cfs_quota_us", "cpu.max");
    assert_eq!(quota, if scratch.layout.is_unified() { "5000 10000" } else { "5000" });
}

#[test]
fn a_refused_value_is_named_with_its_file() {
    let scratch = Scratch::new();
    let error = scratch.apply(json!({"cpu": {"cpus": "4000"}})).expect_err("no machine has so many");
    let file = scratch.group.directory(Controller::Cpuset).expect("a directory").join("cpuset.cpus");
    let text = error.to_string();
    let expected = format!("cannot write {} (value \"4000\"): ", file.display());
    assert!(text.starts_with(&expected), "{text}");
}

#[test]
fn a_fork_beyond_the_limit_fails() {
    let scratch = Scratch::new();
    scratch.apply(json!({"pids": {"limit": 3}})).expect("applied");
    let shell = scratch.shell("for i in 1 2 3 4; do sleep 60 >/dev/null & done; wait");
    let (status, _) = shell.finish();
    assert!(!status.success(), "four children and itself are five");
}

#[test]
fn a_thread_enters_through_the_doors() {
    let scratch = Scratch::new();
    let entry = scratch.group.entry().expect("open");
    assert_eq!(entry.clone_into().is_some(), scratch.layout.unified.is_some());
    let membership = std::thread::spawn(move || {
        entry.join_v1().expect("let in");
        fs_err::read_to_string("/proc/thread-self/cgroup").expect("readable")
    });
    let membership = membership.join().expect("it ends");
    let lines: Vec<_> = membership.lines().filter(|line| !line.starts_with("0::")).collect();
    for hierarchy in &scratch.layout.hierarchies {
        let name = hierarchy
            .name
            .as_ref()
            .map_or_else(|| hierarchy.controllers[0].v1_name().to_owned(), |name| format!("name={name}"));
        let line = lines.iter().find(|line| line.contains(&name)).expect("listed");
        assert!(line.ends_with("/inner"), "{line}");
    }
}

#[test]
fn frozen_processes_stand_still_and_die_all_the_same() {
    let scratch = Scratch::new();
    let mut shell = scratch.shell("while :; do :; done");
    shell.go();
    assert_eq!(scratch.group.pids(), Ok(vec![shell.id()]));
    assert_eq!(scratch.group.is_frozen(), Ok(false));
    scratch.group.freeze().expect("frozen");
    assert_eq!(scratch.group.is_frozen(), Ok(true));
    let used = || scratch.group.stats().expect("readable").cpu.total;
    // What ran last may be counted a moment later.
    let stands_still = || {
        let before = used();
        std::thread::sleep(Duration::from_millis(60));
        used() == before
    };
    wait_until("nothing runs", stands_still);
    let before = used();
    scratch.group.thaw().expect("thawed");
    wait_until("running again", || used() > before);
    scratch.group.freeze().expect("frozen again");
    scratch.group.kill_all().expect("killed");
    let status = shell.child.wait().expect("it ends");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
}

#[test]
fn signals_reach_everybody_below() {
    let scratch = Scratch::new();
    let mut shell = scratch.shell("sleep 60 & sleep 60 & wait");
    shell.go();
    wait_until("three processes", || scratch.group.pids().is_ok_and(|pids| pids.len() == 3));
    scratch.group.signal_all(rustix::process::Signal::KILL).expect("sent");
    shell.child.wait().expect("it ends");
    wait_until("empty", || scratch.group.pids().is_ok_and(|pids| pids.is_empty()));
    assert_eq!(scratch.group.is_frozen(), Ok(false));
}

#[test]
fn running_out_of_memory_is_counted_and_announced() {
    let scratch = Scratch::new();
    scratch.apply(json!({"memory": {"limit": 8 << 20, "swap": 8 << 20}})).expect("applied");
    assert_eq!(scratch.group.oom_kills(), Ok(0));
    let watch = scratch.group.watch_oom().expect("watched");
    let shell = scratch.shell("tail /dev/zero; exit 3");
    shell.finish();
    let mut fds = [PollFd::new(&watch, PollFlags::IN)];
    let timeout = rustix::time::Timespec { tv_sec: 20, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut fds, Some(&timeout)), Ok(1), "announced");
    watch.drain();
    wait_until("the kill is counted", || scratch.group.oom_kills().is_ok_and(|kills| kills > 0));
    let stats = scratch.group.stats().expect("readable");
    assert_eq!((stats.memory.usage.limit, stats.memory.usage.max_usage), (8 << 20, 8 << 20));
}

#[test]
fn what_is_used_shows() {
    let scratch = Scratch::new();
    scratch.apply(json!({"pids": {"limit": 9}, "cpu": {"quota": 10000, "period": 100000}})).expect("applied");
    let mut shell = scratch.shell("x=$(head -c 4000000 /dev/zero | tr '\\0' x); i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; sleep 60");
    shell.go();
    let stats = || scratch.group.stats().expect("readable");
    wait_until("throttled", || stats().cpu.throttled_periods > 1);
    let stats = stats();
    assert!(stats.cpu.total > 0 && stats.cpu.throttled > 0 && stats.cpu.periods > 1, "{:?}", stats.cpu);
    assert!(stats.memory.usage.usage > 0 && !stats.memory.raw.is_empty());
    assert!(stats.pids.current >= 1 && stats.pids.limit == 9);
    if scratch.layout.hierarchy(Controller::Cpuacct).is_some() {
        assert_eq!(stats.cpu.per_cpu.iter().sum::<u64>(), stats.cpu.total);
        assert_eq!(stats.cpu.per_cpu.len(), stats.cpu.per_cpu_user.len());
    }
}

#[test]
fn devices_are_denied_and_allowed() {
    let scratch = Scratch::new();
    let only_zero = json!({"devices": [
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 1, "minor": 5, "access": "r"},
    ]});
    scratch.apply(only_zero).expect("applied");
    let script = "for d in zero null full; do (: < /dev/$d) && echo $d; done; (: > /dev/zero) && echo write";
    let (_, output) = scratch.shell(script).finish();
    assert_eq!(output.split_whitespace().collect::<Vec<_>>(), ["zero"]);

    scratch.apply(json!({"devices": [{"allow": true, "access": "rwm"}]})).expect("applied again");
    let (_, output) = scratch.shell(script).finish();
    assert_eq!(output.split_whitespace().collect::<Vec<_>>(), ["zero", "null", "full", "write"]);
}
