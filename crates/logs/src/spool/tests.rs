use std::io::Write;

use super::*;
use crate::remote::{Line, Part};

struct Writer {
    _dir: tempfile::TempDir,
    spool: Spool,
    number: u64,
}

impl Writer {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path().join("spool"));
        let number = spool.prepare(&destination()).unwrap();
        Self { _dir: dir, spool, number }
    }

    fn file(&self, generation: u32) -> PathBuf {
        let end = if generation == 0 { String::new() } else { format!(".{generation}") };
        self.spool.dir.join(format!("entries/log{end}"))
    }

    /// What the encoder of a monitor writes.
    fn write(&mut self, text: &str) {
        let mut file = fs_err::OpenOptions::new().create(true).append(true).open(self.file(0)).unwrap();
        let text = serde_json::to_string(text).unwrap();
        let number = self.number;
        writeln!(
            file,
            r#"{{"log":{text},"stream":"stdout","number":{number},"time":"2026-11-20T21:00:28.5Z"}}"#
        )
        .unwrap();
        self.number += 1;
    }

    fn rotate(&self, keep: u32) {
        for generation in (0..keep - 1).rev() {
            let (from, to) = (self.file(generation), self.file(generation + 1));
            let gz = |path: &Path| path.with_added_extension("gz");
            let _ = fs_err::rename(gz(&from), gz(&to));
            let _ = fs_err::rename(from, to);
        }
        let _ = fs_err::remove_file(self.file(0));
    }

    fn compress(&self, generation: u32) {
        let plain = fs_err::read(self.file(generation)).unwrap();
        let packed = fs_err::File::create(self.file(generation).with_added_extension("gz")).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        encoder.write_all(&plain).unwrap();
        encoder.finish().unwrap();
        fs_err::remove_file(self.file(generation)).unwrap();
    }
}

fn destination() -> Destination {
    Destination { driver: "syslog".into(), options: Options::new(), facts: ContainerFacts::default() }
}

fn texts(reader: &mut SpoolReader) -> Vec<String> {
    let mut out = Vec::new();
    while let Some(batch) = reader.next_batch().unwrap() {
        out.extend(batch.lines.into_iter().map(|line: Line| String::from_utf8(line.text).unwrap()));
    }
    out
}

#[test]
fn lines_come_once_and_again_from_the_cursor() {
    let mut log = Writer::new();
    assert_eq!(log.number, 1);
    log.write("one\n");
    log.write("two\n");
    let mut reader = log.spool.reader().unwrap();
    let batch = reader.next_batch().unwrap().unwrap();
    assert_eq!(batch.lines.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 2]);
    assert!(reader.next_batch().unwrap().is_none());
    log.write("three\n");
    assert_eq!(texts(&mut reader), ["three"]);
    // Nothing was saved: all of it comes again. Then from behind the first batch.
    assert_eq!(texts(&mut log.spool.reader().unwrap()), ["one", "two", "three"]);
    log.spool.save(&batch.end).unwrap();
    assert_eq!(texts(&mut log.spool.reader().unwrap()), ["three"]);
    assert_eq!(log.spool.prepare(&destination()).unwrap(), 4);
}

#[test]
fn rotation_loses_nothing_that_is_still_there() {
    for compressed in [false, true] {
        let mut log = Writer::new();
        let mut reader = log.spool.reader().unwrap();
        log.write("1\n");
        assert_eq!(texts(&mut reader), ["1"]);
        log.write("2\n");
        log.rotate(4);
        if compressed {
            log.compress(1);
        }
        log.write("3\n");
        log.rotate(4);
        log.write("4\n");
        assert_eq!(texts(&mut reader), ["2", "3", "4"], "compressed: {compressed}");
        assert_eq!(reader.lost(), 0);
        assert_eq!(texts(&mut log.spool.reader().unwrap()), ["1", "2", "3", "4"]);
        assert_eq!(log.spool.prepare(&destination()).unwrap(), 5);
    }
}

#[test]
fn what_was_rotated_away_is_counted() {
    let mut log = Writer::new();
    let mut reader = log.spool.reader().unwrap();
    log.write("1\n");
    let first = reader.next_batch().unwrap().unwrap();
    for number in 2..=7 {
        log.write(&format!("{number}\n"));
        log.rotate(3);
    }
    log.write("8\n");
    // The reader still holds the first file, with line 2 in it.
    assert_eq!(texts(&mut reader), ["2", "6", "7", "8"]);
    assert_eq!(reader.lost(), 3);
    log.spool.save(&first.end).unwrap();
    let mut again = log.spool.reader().unwrap();
    assert_eq!(texts(&mut again), ["6", "7", "8"]);
    assert_eq!(again.lost(), 4);
    // Lines that a full disk did not take have numbers all the same.
    log.number += 2;
    log.write("11\n");
    assert_eq!(texts(&mut again), ["11"]);
    assert_eq!(again.lost(), 6);
}

#[test]
fn parts_of_a_line_know_each_other_even_across_a_restart() {
    let mut log = Writer::new();
    for text in ["a", "b", "c\n", "whole\n", "d"] {
        log.write(text);
    }
    let mut reader = log.spool.reader().unwrap();
    let batch = reader.next_batch().unwrap().unwrap();
    let part = |first, ordinal, last| Some(Part { first, ordinal, last });
    let parts: Vec<_> = batch.lines.into_iter().map(|line| line.part).collect();
    assert_eq!(parts, [part(1, 1, false), part(1, 2, false), part(1, 3, true), None, part(5, 1, false)]);
    log.spool.save(&batch.end).unwrap();
    log.write("e\n");
    let batch = log.spool.reader().unwrap().next_batch().unwrap().unwrap();
    assert_eq!(batch.lines[0].part, part(5, 2, true));
}

#[test]
fn a_cursor_that_is_lost_sends_again_and_counts_nothing() {
    let mut log = Writer::new();
    log.number = 500;
    log.write("x\n");
    fs_err::write(log.spool.dir.join("cursor"), "rubbish").unwrap();
    let mut reader = log.spool.reader().unwrap();
    assert_eq!(texts(&mut reader), ["x"]);
    assert_eq!(reader.lost(), 0);
}

#[test]
fn an_emptied_log_and_lines_of_other_shapes_do_no_harm() {
    let mut log = Writer::new();
    log.write("1\n");
    let mut reader = log.spool.reader().unwrap();
    assert_eq!(texts(&mut reader), ["1"]);
    fs_err::write(log.file(0), "").unwrap();
    assert_eq!(texts(&mut reader), [""; 0]);
    fs_err::write(log.file(0), "garbage\n{\"log\":\"unnumbered\",\"stream\":\"stdout\",\"time\":\"x\"}\n")
        .unwrap();
    log.write("2\n");
    assert_eq!(texts(&mut reader), ["2"]);
    assert_eq!(reader.lost(), 0);
}
