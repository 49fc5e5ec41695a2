//! The log file of real containers.

use std::path::PathBuf;

use rustix::mount::{MountFlags, UnmountFlags};
use skiff_runtime::monitor::protocol::Event;

use crate::fixture::{Fixture, Test, code};

pub(crate) const TESTS: &[Test] = &[
    ("log::long_lines_and_unfinished_ones_are_cut_as_docker_cuts_them", long_lines),
    ("log::rotation_keeps_as_many_files_as_asked", rotation),
    ("log::compressed_files_are_complete", compression),
    ("log::a_full_disk_stops_no_container_and_is_told", full_disk),
    ("log::without_a_log_nothing_is_written", no_log),
    ("log::half_a_million_lines_are_all_there", many_lines),
];

fn long_lines() {
    let fixture = Fixture::new();
    let script =
        "yes b | tr -d '\\n' | head -c 16384; echo; yes c | tr -d '\\n' | head -c 40000; echo; printf end";
    let running = fixture.sh(script).start();
    assert_eq!(running.wait().exit, code(0));
    let shape: Vec<_> = running.logged().iter().map(|(_, text)| (text.len(), text.ends_with('\n'))).collect();
    let expected = [(16384, false), (1, true), (16384, false), (16384, false), (7233, true), (3, false)];
    assert_eq!(shape, expected);
}

fn numbers(text: &str) -> Vec<u32> {
    let number = |line: &str| {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        entry["log"].as_str().unwrap().trim().parse().unwrap()
    };
    text.lines().map(number).collect()
}

fn rotation() {
    let fixture = Fixture::new();
    let container = fixture.sh("seq 20000").log(|file| {
        file.max_size = 100_000;
        file.max_files = 3;
    });
    let running = container.start();
    assert_eq!(running.wait().exit, code(0));
    let path = |n: u32| match n {
        0 => running.log.clone(),
        n => PathBuf::from(format!("{}.{n}", running.log.display())),
    };
    assert!(!path(3).exists());
    let mut kept = Vec::new();
    for n in (0..3).rev() {
        let text = fs_err::read_to_string(path(n)).unwrap();
        assert!(text.len() < 100_200, "{} bytes", text.len());
        kept.extend(numbers(&text));
    }
    let first = kept[0];
    assert!(first > 1);
    assert!(kept == (first..=20_000).collect::<Vec<_>>());
}

fn compression() {
    let fixture = Fixture::new();
    let container = fixture.sh("seq 3000").log(|file| {
        file.max_size = 100_000;
        file.max_files = 10;
        file.compress = true;
    });
    let running = container.start();
    assert_eq!(running.wait().exit, code(0));
    let mut kept = Vec::new();
    for n in (1..10).rev() {
        if let Ok(file) = fs_err::File::open(format!("{}.{n}.gz", running.log.display())) {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text).unwrap();
            kept.extend(numbers(&text));
        }
    }
    assert!(!kept.is_empty());
    kept.extend(numbers(&fs_err::read_to_string(&running.log).unwrap()));
    assert!(kept == (1..=3000).collect::<Vec<_>>());
}

/// A small tmpfs, unmounted again.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(path: PathBuf) -> Self {
        fs_err::create_dir(&path).unwrap();
        rustix::mount::mount("tmpfs", &path, "tmpfs", MountFlags::empty(), c"size=256k").unwrap();
        Self(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn full_disk() {
    let fixture = Fixture::new();
    let disk = SmallDisk::new(fixture.dir.path().join("small"));
    let path = disk.0.join("log");
    let mut container = fixture.sh("seq 20000; exit 8").log(|file| file.path = path.clone());
    let client = container.attach(crate::fixture::OUTPUT);
    let running = container.start();
    let (out, _) = crate::fixture::read_frames(client);
    assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 20_000);
    let mut told = None;
    let record = crate::fixture::until(&running.started.connection, |event| match event {
        Event::LogTrouble(health) => {
            told.get_or_insert(health);
            None
        }
        Event::Exited(record) => Some(record),
        _ => None,
    });
    assert_eq!(record.exit, code(8));
    let kept = numbers(&fs_err::read_to_string(&path).unwrap());
    assert_eq!(told.unwrap().errno, Some(28));
    assert_eq!(record.log.lost as usize, 20_000 - kept.len());
    assert!(kept.len() > 1000);
}

fn no_log() {
    let fixture = Fixture::new();
    let mut container = fixture.sh("echo text").without_log();
    let client = container.attach(crate::fixture::OUTPUT);
    let running = container.start();
    assert_eq!(crate::fixture::read_frames(client).0, b"text\n");
    assert_eq!(running.wait().exit, code(0));
    assert!(!running.log.exists());
}

fn many_lines() {
    let fixture = Fixture::new();
    let running = fixture.sh("yes 012345678901234567890123456789012345678 | head -n 500000").start();
    assert_eq!(running.wait().exit, code(0));
    let text = fs_err::read_to_string(&running.log).unwrap();
    let line = r#"{"log":"012345678901234567890123456789012345678\n","stream":"stdout","time":"#;
    assert_eq!(text.lines().filter(|l| l.starts_with(line) && l.ends_with("Z\"}")).count(), 500_000);
}
