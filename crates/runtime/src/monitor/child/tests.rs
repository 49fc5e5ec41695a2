use std::io::Write;

use rustix::process::PidfdFlags;

use super::*;
use crate::monitor::{
    attachment::PATIENCE,
    protocol::Stdio,
    stdio::{Ends, Prepared},
};

/// A child that never ends, since it is this very process, and the other end of its standard output.
fn child(reactor: &Reactor) -> (Child, std::fs::File) {
    let Ok(Prepared::Pipes { theirs: [_, stdout, _], ours }) = Prepared::new(Stdio::default()) else {
        panic!("no pipes")
    };
    let pid = rustix::process::getpid();
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let ours: Ends = ours;
    (Child::new(reactor, 1, Target::Init, (pid, pidfd), ours, Stdin::Null), stdout.into())
}

/// Writes until a client that reads nothing holds the child back.
fn fill(child: &mut Child, stdout: &mut std::fs::File) {
    let mut buffer = vec![0; 64 << 10];
    for _ in 0..1000 {
        stdout.write_all(&[b'x'; 32 << 10]).unwrap();
        child.output_ready(Stream::Stdout, &mut buffer, &mut None);
        if child.attachments[0].holds_back(Stream::Stdout) {
            return;
        }
    }
    panic!("nothing holds it back");
}

#[test]
fn a_client_that_reads_nothing_is_cut_off_only_where_a_log_waits() {
    let reactor = Reactor::new().unwrap();
    let (mut child, mut stdout) = child(&reactor);
    let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    child.attach(ours.into(), Streams { stdin: false, stdout: true, stderr: false });
    assert_eq!(child.deadline(true), None);
    fill(&mut child, &mut stdout);
    let deadline = child.deadline(true).unwrap();
    assert!(deadline <= Instant::now() + PATIENCE);
    assert_eq!(child.deadline(false), None);
    let later = Instant::now() + PATIENCE * 2;
    child.tick(later, false, |_| true);
    child.tick(Instant::now(), true, |_| true);
    child.drop_finished_attachments();
    assert!(!child.is_alone());
    child.tick(later, true, |_| true);
    child.drop_finished_attachments();
    assert!(child.is_alone());
}
