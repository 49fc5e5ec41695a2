use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use fs_err::OpenOptions;
use tempfile::TempDir;

use super::*;
use crate::Framing;

struct Log {
    dir: TempDir,
    count: u32,
}

impl Log {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), count: 0 }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn numbered(&self, number: u32, end: &str) -> PathBuf {
        self.dir.path().join(format!("log.{number}{end}"))
    }

    /// Writes entries 0, 1, 2…; the n-th has second n.
    fn write(&mut self, entries: u32) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path()).unwrap();
        for n in self.count..self.count + entries {
            let stream = if n % 5 == 4 { "stderr" } else { "stdout" };
            let time = format!("2026-11-20T{:02}:{:02}:{:02}Z", n / 3600, n / 60 % 60, n % 60);
            writeln!(file, r#"{{"log":"{n}\n","stream":"{stream}","time":"{time}"}}"#).unwrap();
        }
        self.count += entries;
    }

    fn rotate(&self, compress: bool) {
        let end = if compress { ".gz" } else { "" };
        for number in (1..9).rev() {
            let from = self.numbered(number, end);
            if from.exists() {
                fs_err::rename(from, self.numbered(number + 1, end)).unwrap();
            }
        }
        if compress {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&fs_err::read(self.path()).unwrap()).unwrap();
            fs_err::write(self.numbered(1, end), encoder.finish().unwrap()).unwrap();
            fs_err::remove_file(self.path()).unwrap();
        } else {
            fs_err::rename(self.path(), self.numbered(1, end)).unwrap();
        }
    }

    fn open(&self, query: Query) -> Reader {
        Reader::open(&self.path(), Query { framing: Framing::Raw, ..query }).unwrap()
    }
}

fn drain(reader: &mut Reader) -> (Vec<u32>, Progress) {
    let mut out = Vec::new();
    let mut progress = Progress::More;
    while progress == Progress::More {
        progress = reader.fill(&mut out).unwrap();
    }
    let text = String::from_utf8(out).unwrap();
    (text.lines().map(|line| line.parse().unwrap()).collect(), progress)
}

fn read(log: &Log, query: Query) -> Vec<u32> {
    let (entries, progress) = drain(&mut log.open(query));
    assert_eq!(progress, Progress::End);
    entries
}

fn following() -> Query {
    Query { follow: true, ..Query::default() }
}

#[test]
fn rotated_and_compressed_files_are_read_in_order() {
    for compress in [false, true] {
        let mut log = Log::new();
        assert!(read(&log, Query::default()).is_empty());
        for _ in 0..4 {
            log.write(10);
            log.rotate(compress);
        }
        log.write(10);
        assert_eq!(read(&log, Query::default()), (0..50).collect::<Vec<_>>());
        for tail in [0, 1, 9, 10, 11, 25, 50, 100] {
            let tailed = read(&log, Query { tail: Some(tail), ..Query::default() });
            assert_eq!(tailed, (50 - tail.min(50) as u32..50).collect::<Vec<_>>(), "tail {tail}, {compress}");
        }
    }
}

#[test]
fn the_tail_of_a_large_log_is_exact() {
    let mut log = Log::new();
    log.write(20_000);
    let tailed = read(&log, Query { tail: Some(12_345), ..Query::default() });
    assert_eq!(tailed, (20_000 - 12_345..20_000).collect::<Vec<_>>());
    assert_eq!(read(&log, Query::default()).len(), 20_000);
}

#[test]
fn a_query_counts_first_and_chooses_then() {
    let mut log = Log::new();
    log.write(20);
    let at = |second| Time::parse(format!("2026-11-20T00:00:{second:02}Z").as_bytes());
    let errors = Query { stdout: false, tail: Some(10), ..Query::default() };
    assert_eq!(read(&log, errors), [14, 19]);
    let range = Query { since: at(5), until: at(8), ..Query::default() };
    assert_eq!(read(&log, range.clone()), [5, 6, 7, 8]);
    assert_eq!(read(&log, Query { tail: Some(13), ..range.clone() }), [7, 8]);
    assert_eq!(read(&log, Query { follow: true, ..range }), [5, 6, 7, 8]);
}

#[test]
fn following_sees_every_entry_once_across_rotations() {
    for compress in [false, true] {
        follow_rotations(compress);
    }
}

fn follow_rotations(compress: bool) {
    let mut log = Log::new();
    let mut reader = log.open(following());
    assert_eq!(drain(&mut reader), (vec![], Progress::CaughtUp));
    let mut seen = Vec::new();
    let mut step = |reader: &mut Reader| {
        let (entries, progress) = drain(reader);
        assert_eq!(progress, Progress::CaughtUp);
        seen.extend(entries);
    };
    log.write(3);
    step(&mut reader);
    log.write(2);
    log.rotate(compress);
    log.write(2);
    step(&mut reader);
    log.rotate(compress);
    log.write(1);
    log.rotate(compress);
    log.write(1);
    step(&mut reader);
    log.rotate(compress);
    log.write(4);
    log.rotate(compress);
    log.write(4);
    step(&mut reader);
    log.write(1);
    step(&mut reader);
    assert_eq!(seen, (0..log.count).collect::<Vec<_>>());
    log.write(1);
    reader.producer_ended();
    assert_eq!(drain(&mut reader), (vec![log.count - 1], Progress::End));
}

#[test]
fn a_follower_is_woken_and_can_begin_at_the_end() {
    let mut log = Log::new();
    log.write(5);
    let mut reader = log.open(Query { tail: Some(0), ..following() });
    assert_eq!(drain(&mut reader), (vec![], Progress::CaughtUp));
    let is_awake = |reader: &Reader| {
        let wakeup = reader.wakeup().unwrap();
        let mut fds = [rustix::event::PollFd::new(&wakeup, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    };
    assert!(!is_awake(&reader));
    log.write(1);
    assert!(is_awake(&reader));
    assert_eq!(drain(&mut reader), (vec![5], Progress::CaughtUp));
    assert!(!is_awake(&reader));
    log.rotate(false);
    log.write(1);
    assert!(is_awake(&reader));
    assert_eq!(drain(&mut reader), (vec![6], Progress::CaughtUp));
}

#[test]
fn an_emptied_file_is_followed_from_its_new_beginning() {
    let mut log = Log::new();
    log.write(5);
    let mut reader = log.open(following());
    drain(&mut reader);
    fs_err::File::create(log.path()).unwrap();
    log.write(2);
    assert_eq!(drain(&mut reader), (vec![5, 6], Progress::CaughtUp));
}

#[test]
fn damaged_lines_are_skipped() {
    let mut log = Log::new();
    log.write(1);
    let mut file = OpenOptions::new().append(true).open(log.path()).unwrap();
    file.write_all(b"garbage\n\n{\"log\":\"ha\n\xff\n").unwrap();
    log.write(1);
    file.write_all(b"{\"log\":\"unfinished").unwrap();
    assert_eq!(read(&log, Query::default()), [0, 1]);
    assert_eq!(read(&log, Query { tail: Some(1), ..Query::default() }), [1]);
}
