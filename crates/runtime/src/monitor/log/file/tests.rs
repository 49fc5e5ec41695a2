use std::{collections::BTreeMap, path::Path};

use super::*;

fn config(path: &Path, max_size: u64, max_files: u32) -> JsonFile {
    JsonFile {
        path: path.into(),
        max_size,
        max_files,
        compress: false,
        attrs: BTreeMap::new(),
        first_number: None,
    }
}

fn line(log: &mut LogFile, text: &str) {
    log.push(Message { text: text.as_bytes(), ends: true }, Stream::Stdout, UnixTime::now());
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = fs_err::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_log_goes_on_where_it_ended_and_times_only_grow() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    for text in ["one", "two"] {
        let mut log = LogFile::open(config(&path, 0, 1)).unwrap();
        let now = UnixTime::now();
        for _ in 0..3 {
            log.push(Message { text: text.as_bytes(), ends: true }, Stream::Stdout, now);
        }
        log.close();
    }
    let lines = lines(&path);
    let texts: Vec<_> = lines.iter().map(|l| l["log"].as_str().unwrap().trim()).collect();
    assert_eq!(texts, ["one", "one", "one", "two", "two", "two"]);
    let mut times: Vec<_> =
        lines.iter().map(|l| format!("{:0<30}", l["time"].as_str().unwrap().trim_end_matches('Z'))).collect();
    let before = times.clone();
    times.sort();
    times.dedup();
    assert_eq!(times, before);
}

#[test]
fn no_line_is_lost_by_rotation_and_no_file_outgrows_its_size_by_more_than_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut log = LogFile::open(config(&path, 1000, 100)).unwrap();
    for i in 0..100 {
        line(&mut log, &format!("{i}"));
    }
    log.close();
    let mut found = Vec::new();
    for number in (0..100).rev() {
        let file = rotate::generation(&path, number, false);
        if file.exists() {
            assert!(fs_err::metadata(&file).unwrap().len() < 1100);
            found.extend(lines(&file).iter().map(|l| l["log"].as_str().unwrap().trim().to_owned()));
        }
    }
    assert_eq!(found, (0..100).map(|i| i.to_string()).collect::<Vec<_>>());
    assert_eq!(log.health(), LogHealth::default());
}

#[test]
fn a_full_disk_loses_whole_lines_which_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut log = LogFile::open(config(&path, 0, 1)).unwrap();
    line(&mut log, "fits");
    log.flush();
    // As on a full disk: part of the batch is written, then the kernel refuses.
    let before = rustix::process::getrlimit(rustix::process::Resource::Fsize);
    let limit = rustix::process::Rlimit { current: Some(log.size + 200), ..before };
    skiff_sys::signal::ignore(rustix::process::Signal::XFSZ).unwrap();
    rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
    for i in 0..10 {
        line(&mut log, &format!("line {i}"));
    }
    log.flush();
    rustix::process::setrlimit(rustix::process::Resource::Fsize, before).unwrap();
    let kept = lines(&path).len() as u64;
    assert!((2..=4).contains(&kept), "{kept}");
    assert_eq!(log.health(), LogHealth { lost: 11 - kept, errno: Some(libc_efbig()) });
    line(&mut log, "after");
    log.flush();
    assert_eq!(log.health(), LogHealth { lost: 11 - kept, errno: None });
    assert_eq!(lines(&path).last().unwrap()["log"], "after\n");
}

fn libc_efbig() -> i32 {
    Errno::FBIG.raw_os_error()
}
