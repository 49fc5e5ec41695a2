//! Three hundred starts leave nothing behind.

use crate::fixture::{Fixture, Test, code, eventually};

pub(crate) const TESTS: &[Test] = &[("leaks::three_hundred_starts_leave_nothing", starts)];

fn descriptors(pid: u32) -> usize {
    fs_err::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn children(pid: u32) -> String {
    fs_err::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap()
}

/// Memory in KiB that no file stands behind: pages of the program come and go as they are used.
fn memory(pid: u32) -> u64 {
    let text = fs_err::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn starts() {
    let fixture = Fixture::new();
    let run = |n: i32| {
        let mut container = fixture.sh(&format!("echo {n}; exit {}", n % 100));
        let client = container.attach(crate::fixture::OUTPUT);
        let running = container.start();
        assert_eq!(running.wait().exit, code(n % 100));
        assert_eq!(crate::fixture::read_frames(client).0, format!("{n}\n").into_bytes());
        assert!(fixture.container(&["/bin/nothing"]).try_start().is_err());
    };
    (0..10).for_each(run);
    let (own, launcher) = (std::process::id(), fixture.launcher.pid());
    let before = (descriptors(own), descriptors(launcher), memory(launcher));
    (10..310).for_each(run);
    eventually("only the spare monitor is left", || children(launcher).split_ascii_whitespace().count() == 1);
    let after = (descriptors(own), descriptors(launcher), memory(launcher));
    assert_eq!(after.0, before.0);
    // While it makes a spare monitor it has two descriptors more than while it rests. A leak would be hundreds.
    assert!(after.1 <= before.1 + 2, "{} descriptors have become {}", before.1, after.1);
    assert!(after.2 <= before.2 + 64, "{} KiB have become {}", before.2, after.2);
}
