use std::{
    io::{Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    thread,
};

use super::*;

/// Answers one request as `answer` wants it.
fn serve(listener: Listener, answer: impl FnOnce(Connection) + Send + 'static) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let listener = std::os::unix::net::UnixListener::from(listener);
        listener.set_nonblocking(false).unwrap();
        answer(Connection::new(listener.accept().unwrap().0).unwrap());
    })
}

#[test]
fn a_file_is_given_and_its_link_has_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, own, theirs) = (dir.path().join(SOCKET), dir.path().join("own"), dir.path().join("theirs"));
    fs_err::write(&own, "hello").unwrap();
    let to = theirs.clone();
    let server = serve(Listener::bind(&socket).unwrap(), move |connection| {
        let request = connection.request().unwrap();
        let (repository, upload, digest) = ("a/b".to_owned(), "id".to_owned(), "sha256:x".to_owned());
        let Request::Give { path, .. } = &request else { panic!("{request:?}") };
        link(fs_err::File::open(path).unwrap().file(), &to).unwrap();
        assert_eq!(request, Request::Give { repository, upload, digest, path: path.clone() });
        connection.done(None).unwrap();
    });
    let file = fs_err::File::open(&own).unwrap().into_file();
    give(&socket, "a/b", "id", "sha256:x", file.as_fd()).unwrap();
    server.join().unwrap();
    fs_err::remove_file(&own).unwrap();
    assert_eq!(fs_err::read_to_string(&theirs).unwrap(), "hello");
}

/// Who answers may be root of a container, and then sees other files.
#[test]
fn no_file_is_given_away() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, own) = (dir.path().join(SOCKET), dir.path().join("own"));
    fs_err::write(&own, "hello").unwrap();
    let server = serve(Listener::bind(&socket).unwrap(), |connection| {
        let (request, file) = packet::receive::<Request>(&connection.0).unwrap();
        assert!(matches!(request, Request::Give { .. }) && file.is_none());
        connection.refuse("I only wanted to look").unwrap();
    });
    let file = fs_err::File::open(&own).unwrap().into_file();
    assert!(matches!(give(&socket, "a", "id", "sha256:x", file.as_fd()), Err(Error::Refused(_))));
    server.join().unwrap();
}

/// As from a registry in a container, which could write to it later.
#[test]
fn a_file_that_comes_through_another_mount_is_not_linked() {
    use rustix::mount::{OpenTreeFlags, open_tree};
    let dir = tempfile::tempdir().unwrap();
    let (path, to) = (dir.path().join("file"), dir.path().join("link"));
    fs_err::write(&path, "x").unwrap();
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, dir.path(), flags).unwrap();
    let file =
        rustix::fs::openat(&mount, "file", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
    let refused = link(&file, &to).unwrap_err();
    assert!(
        matches!(&refused, Error::System { source, .. } if source.raw_os_error() == Some(18)),
        "{refused}"
    );
}

#[test]
fn a_file_is_taken_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, path) = (dir.path().join(SOCKET), dir.path().join("blob"));
    fs_err::write(&path, "hello").unwrap();
    let server = serve(Listener::bind(&socket).unwrap(), move |connection| {
        assert_eq!(connection.request().unwrap(), Request::Take { ticket: "t".to_owned() });
        connection.done(Some(&fs_err::File::open(path).unwrap().into_file())).unwrap();
    });
    let mut text = String::new();
    take(&socket, "t").unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    server.join().unwrap();
    let server = serve(Listener::bind(&socket).unwrap(), |connection| {
        connection.request().unwrap();
        connection.refuse("no such ticket").unwrap();
    });
    assert_eq!(take(&socket, "t").unwrap_err().to_string(), "refused: no such ticket");
    server.join().unwrap();
    let server = serve(Listener::bind(&socket).unwrap(), drop);
    assert!(take(&socket, "t").is_err());
    server.join().unwrap();
}

#[test]
fn what_others_can_write_to_is_not_linked() {
    let dir = tempfile::tempdir().unwrap();
    let (path, to) = (dir.path().join("file"), dir.path().join("link"));
    let mut file = fs_err::File::create(&path).unwrap();
    file.write_all(b"x").unwrap();
    for mode in [0o666, 0o620] {
        fs_err::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        assert!(matches!(link(file.file(), &to), Err(Error::Shared(_))));
    }
    assert!(matches!(link(fs_err::File::open(dir.path()).unwrap().file(), &to), Err(Error::Shared(_))));
    fs_err::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
        assert!(matches!(link(file.file(), &to), Err(Error::Shared(_))));
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
    }
    link(file.file(), &to).unwrap();
    assert_eq!(fs_err::metadata(&to).unwrap().nlink(), 2);
}

#[test]
fn nobody_is_connected_to_who_is_no_registry() {
    let dir = tempfile::tempdir().unwrap();
    // A stream socket of the right name, and a right socket of another name.
    let stream = dir.path().join(SOCKET);
    let _listener = std::os::unix::net::UnixListener::bind(&stream).unwrap();
    let other = dir.path().join("docker.sock");
    let _other = Listener::bind(&other).unwrap();
    for path in [stream.as_path(), &other, Path::new(SOCKET), Path::new("/nowhere/handover.sock")] {
        assert!(matches!(take(path, "t"), Err(Error::NoSocket(_))), "{}", path.display());
    }
}
