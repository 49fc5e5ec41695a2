use std::os::fd::AsFd;

use super::*;

fn pair() -> (OwnedFd, OwnedFd) {
    socket::seqpacket_pair().unwrap()
}

#[test]
fn small_and_large_messages_arrive_with_their_descriptors() {
    let (a, b) = pair();
    let (read, write) = rustix::pipe::pipe().unwrap();
    for size in [0, 1, INLINE - 10, INLINE + 1, 3_000_000] {
        let text = "x".repeat(size);
        send(a.as_fd(), &text, &[write.as_fd()]).unwrap();
        let (got, fds): (String, _) = receive(b.as_fd()).unwrap();
        assert!(got == text, "size {size}");
        assert_eq!(fds.len(), 1);
        rustix::io::write(&fds[0], b"k").unwrap();
        let mut byte = [0];
        rustix::io::read(&read, &mut byte).unwrap();
        assert_eq!(&byte, b"k");
    }
}

#[test]
fn the_end_another_version_and_garbage_are_told_apart() {
    let (a, b) = pair();
    socket::send(&a, &[VERSION + 1, 0, 0], &[]).unwrap();
    assert!(matches!(receive::<u32>(b.as_fd()), Err(WireError::Version(v)) if v == VERSION + 1));
    socket::send(&a, &[VERSION], &[]).unwrap();
    assert!(matches!(receive::<u32>(b.as_fd()), Err(WireError::Malformed(_))));
    socket::send(&a, &[VERSION, 0], &[]).unwrap();
    assert!(matches!(receive::<u32>(b.as_fd()), Err(WireError::Payload(_))));
    socket::send(&a, &[VERSION, IN_MEMFD], &[]).unwrap();
    assert!(matches!(receive::<u32>(b.as_fd()), Err(WireError::Malformed(_))));
    drop(a);
    assert!(matches!(receive::<u32>(b.as_fd()), Err(WireError::Closed)));
}

#[test]
fn a_memfd_that_its_sender_could_still_change_is_refused() {
    let (a, b) = pair();
    let open = rustix::fs::memfd_create("m", MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::io::write(&open, &[7]).unwrap();
    send_packet(a.as_fd(), IN_MEMFD, &[], &[open.as_fd()]).unwrap();
    assert!(matches!(receive::<u8>(b.as_fd()), Err(WireError::Malformed("memfd is not sealed"))));
}
