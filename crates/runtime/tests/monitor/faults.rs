//! Who survives whom.

use rustix::process::Signal;
use skiff_runtime::{
    cgroups::Cgroup,
    launcher::{Launcher, StartError},
    monitor::{
        WireError,
        connection::MonitorConnection,
        protocol::{Event, ExecRequest, Request},
        record::ExitRecord,
    },
};

use crate::fixture::{Fixture, Test, code, eventually, is_alive, kill, until};

pub(crate) const TESTS: &[Test] = &[
    ("faults::a_container_outlives_its_daemon_and_launcher", daemon_dies),
    ("faults::a_start_that_is_dropped_leaves_nothing", undone_by_the_daemon),
    ("faults::without_a_daemon_the_monitor_removes_the_cgroup", ends_without_a_daemon),
    ("faults::a_daemon_that_comes_during_a_start_is_told_when_it_is_done", start_takes_long),
    ("faults::a_container_dies_with_its_monitor", monitor_dies),
    ("faults::a_launcher_can_be_replaced", launcher_dies),
    ("faults::a_polite_request_to_end_ends_no_monitor", polite_signals),
    ("faults::a_container_that_ended_unseen_is_found", ended_unseen),
    ("faults::nonsense_on_the_socket_harms_nobody", nonsense),
    ("faults::a_daemon_that_listens_late_is_told_how_things_stand", late_listener),
    ("faults::a_run_directory_that_cannot_be_made_is_an_error", no_run_dir),
];

fn daemon_dies() {
    let mut fixture = Fixture::new();
    let launcher = fixture.launcher.pid() as i32;
    let running = fixture.sh("while [ ! -e /tmp/go ]; do sleep 0.02; done; echo went; exit 5").start();
    let (pid, monitor) = (running.started.pid, running.started.monitor_pid);
    let run_dir = running.run_dir.clone();
    let log = running.log.clone();
    let place = fixture.place(running.id);
    // All that a daemon has is closed at once, and nothing said.
    let guard = KillOnDrop(pid);
    {
        let running = std::mem::ManuallyDrop::new(running);
        rustix::net::shutdown(&running.started.connection, rustix::net::Shutdown::Both).unwrap();
    }
    fixture.launcher = Launcher::spawn().unwrap();
    assert!(!is_alive(launcher));
    assert!(is_alive(pid) && is_alive(monitor));
    let next = MonitorConnection::connect(&run_dir).unwrap();
    let (Event::Hello(hello), fds) = next.recv(30).unwrap() else { panic!("no hello") };
    assert_eq!((hello.pid, hello.monitor_pid, hello.exit, fds.len()), (pid, monitor, None, 1));
    fs_err::write(fixture.dir.path().join("rootfs/tmp/go"), "").unwrap();
    let record = until(&next, |event| match event {
        Event::Exited(record) => Some(record),
        _ => None,
    });
    assert_eq!(record.exit, code(5));
    assert!(fs_err::read_to_string(log).unwrap().contains("went"));
    // A daemon was told, so this is its part.
    Cgroup::open(&place.layout, &place.path).remove().unwrap();
    drop(guard);
}

fn undone_by_the_daemon() {
    let fixture = Fixture::new();
    let place = fixture.place(skiff_types::ContainerId::random());
    let cgroup = Cgroup::open(&place.layout, &place.path);
    let starting = fixture.launcher.begin(&place).unwrap();
    eventually("the cgroup is made", || cgroup.directories().all(std::path::Path::exists));
    drop(starting);
    eventually("the cgroup is gone", || !cgroup.exists());
}

fn ends_without_a_daemon() {
    let fixture = Fixture::new();
    let running = fixture.sh("while [ ! -e /tmp/go ]; do sleep 0.02; done").start();
    rustix::net::shutdown(&running.started.connection, rustix::net::Shutdown::Both).unwrap();
    fs_err::write(fixture.dir.path().join("rootfs/tmp/go"), "").unwrap();
    eventually("it has removed its cgroup", || fixture.cgroup_directories(running.id).is_empty());
    assert!(ExitRecord::load(&running.run_dir).unwrap().is_some());
}

fn start_takes_long() {
    let fixture = Fixture::new();
    let connected = fixture.dir.path().join("connected");
    let slowly = |spec: &mut serde_json::Value| {
        let until = format!("while [ ! -e {} ]; do sleep 0.02; done", connected.display());
        let hook = serde_json::json!({ "path": "/bin/busybox", "args": ["sh", "-c", until] });
        spec["hooks"] = serde_json::json!({ "createRuntime": [hook] });
    };
    for (program, starts) in [("/bin/sleep", true), ("/bin/nothing", false)] {
        let container = fixture.container(&[program, "1000"]).spec(slowly);
        let run_dir = container.run_dir();
        let _ = fs_err::remove_file(&connected);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let mut connection = None;
                eventually("the socket is there", || {
                    connection = MonitorConnection::connect(&run_dir).ok();
                    connection.is_some()
                });
                fs_err::write(&connected, "").unwrap();
                connection.unwrap().recv(30)
            });
            let started = container.try_start();
            assert_eq!(started.is_ok(), starts);
            match other.join().unwrap() {
                Ok((Event::Hello(hello), _)) => assert_eq!(hello.pid, started.unwrap().started.pid),
                Err(WireError::Closed) => assert!(!starts),
                other => panic!("{other:?}"),
            }
        });
    }
}

struct KillOnDrop(i32);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if is_alive(self.0) {
            kill(self.0);
        }
    }
}

fn monitor_dies() {
    let fixture = Fixture::new();
    let running = fixture.sh("trap '' TERM HUP; sleep 1000 & sleep 1000").start();
    kill(running.started.monitor_pid);
    eventually("the container is dead", || !is_alive(running.started.pid));
    while let Ok((event, _)) = running.started.connection.recv(30) {
        assert!(!matches!(event, Event::Exited(_)));
    }
    assert_eq!(ExitRecord::load(&running.run_dir).unwrap(), None);
    assert!(MonitorConnection::connect(&running.run_dir).is_err());
    // The daemon's part, when it finds neither monitor nor record.
    for directory in fixture.cgroup_directories(running.id) {
        eventually("the cgroup is empty", || fs_err::remove_dir(&directory).is_ok());
    }
}

fn polite_signals() {
    let fixture = Fixture::new();
    let running = fixture.container(&["/bin/sleep", "1000"]).start();
    let monitor = rustix::process::Pid::from_raw(running.started.monitor_pid).unwrap();
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM] {
        rustix::process::kill_process(monitor, signal).unwrap();
    }
    let hello = until(&running.connect(), |event| match event {
        Event::Hello(hello) => Some(hello),
        _ => None,
    });
    assert_eq!(hello.exit, None);
    // The container's own signals are as a program expects them.
    let status = fs_err::read_to_string(format!("/proc/{}/status", running.started.pid)).unwrap();
    assert!(status.contains("SigIgn:\t0000000000000000\n"), "{status}");
}

fn launcher_dies() {
    let mut fixture = Fixture::new();
    let running = fixture.sh("sleep 1000").start();
    kill(fixture.launcher.pid() as i32);
    eventually("the launcher is dead", || !is_alive(fixture.launcher.pid() as i32));
    let refused = fixture.sh("exit 1").try_start().err().unwrap();
    // The spare monitor may outlive the launcher by an instant.
    assert!(
        matches!(refused, StartError::Launcher(WireError::Closed) | StartError::Monitor(WireError::Closed)),
        "{refused:?}"
    );
    fixture.launcher = Launcher::spawn().unwrap();
    assert_eq!(fixture.sh("exit 1").start().wait().exit, code(1));
    assert!(is_alive(running.started.pid));
}

fn ended_unseen() {
    let fixture = Fixture::new();
    let running = fixture.sh("exit 9").start();
    let monitor = running.started.monitor_pid;
    eventually("the monitor ends", || !is_alive(monitor));
    let refused = MonitorConnection::connect(&running.run_dir).err().unwrap();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(ExitRecord::load(&running.run_dir).unwrap().unwrap().exit, code(9));
}

fn nonsense() {
    let fixture = Fixture::new();
    let running = fixture.sh("sleep 1000").start();
    for packet in [&b""[..], b"\x01", b"\xff\xff\xff", &[0x41; 5000]] {
        let stranger = running.connect();
        rustix::net::send(&stranger, packet, rustix::net::SendFlags::NOSIGNAL).unwrap();
        while stranger.recv(30).is_ok() {}
    }
    let hello = until(&running.connect(), |event| match event {
        Event::Hello(hello) => Some(hello),
        _ => None,
    });
    assert_eq!(hello.exit, None);
}

fn late_listener() {
    let fixture = Fixture::new();
    let running = fixture.sh("sleep 1000").start();
    let late = running.connect();
    // Each of these is an event for everybody.
    for _ in 0..1000 {
        let plan = fixture.encoded_exec(
            &running,
            serde_json::json!({
                "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": ["/bin/nothing"],
            }),
        );
        let id = skiff_types::ExecId::random();
        running.send(Request::Exec(ExecRequest { id, plan, stdio: Default::default(), attach: None }), &[]);
        until(&running.started.connection, |event| matches!(event, Event::ExecFailed { .. }).then_some(()));
    }
    let (mut hellos, mut failures) = (0, 0);
    while hellos < 2 {
        match late.recv(30).unwrap().0 {
            Event::Hello(hello) => {
                assert_eq!((hello.pid, hello.exit), (running.started.pid, None));
                hellos += 1;
            }
            Event::ExecFailed { .. } => failures += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!((1..1000).contains(&failures), "{failures}");
}

fn no_run_dir() {
    let fixture = Fixture::new();
    fs_err::write(fixture.dir.path().join("run"), "a file").unwrap();
    assert!(matches!(fixture.sh("exit 0").try_start(), Err(StartError::RunDir(_))));
}
