//! From start to end.

use skiff_runtime::{
    launcher::StartError,
    monitor::{
        WireError,
        protocol::{Event, Exit, Request, Target},
        record::ExitRecord,
    },
};

use crate::fixture::{Fixture, Test, code, eventually, is_alive, until};

pub(crate) const TESTS: &[Test] = &[
    ("life::a_container_runs_and_leaves_only_its_record", runs),
    ("life::a_program_that_is_not_there_is_an_error_and_leaves_nothing", missing_program),
    ("life::signals_reach_the_init", signals),
    ("life::a_hundred_start_at_once", hundred),
    ("life::a_plan_larger_than_a_packet_starts", large_plan),
    ("life::a_container_in_the_hosts_pid_namespace_dies_as_a_whole", host_pids),
    ("life::running_out_of_memory_is_told_and_recorded", out_of_memory),
];

fn runs() {
    let fixture = Fixture::new();
    let running = fixture.sh("echo out; echo err >&2; exit 3").start();
    let record = running.wait();
    assert_eq!((record.exit, record.oom_killed, record.pid), (code(3), false, running.started.pid));
    assert!(record.started_at <= record.exited_at);
    assert_eq!(ExitRecord::load(&running.run_dir).unwrap(), Some(record));
    let mut logged = running.logged();
    logged.sort();
    assert_eq!(logged, [("stderr".into(), "err\n".into()), ("stdout".into(), "out\n".into())]);
    running.remove_cgroup();
    assert!(matches!(running.started.connection.recv(30), Err(WireError::Closed)));
    eventually("the monitor ends", || !is_alive(running.started.monitor_pid));
}

fn missing_program() {
    let fixture = Fixture::new();
    let container = fixture.container(&["/bin/nothing"]);
    let id = container.id;
    let StartError::Failed(error) = container.try_start().err().unwrap() else { panic!("another error") };
    assert_eq!((error.errno, error.detail.contains("/bin/nothing")), (2, true), "{error:?}");
    assert_eq!(fixture.cgroup_directories(id), Vec::<std::path::PathBuf>::new());
    // The launcher is none the worse for it.
    assert_eq!(fixture.sh("exit 0").start().wait().exit, code(0));
}

fn signals() {
    let fixture = Fixture::new();
    let running = fixture.sh("trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done").start();
    eventually("it is ready", || !running.logged().is_empty());
    running.call(Request::Signal { target: Target::Init, signal: 15 }, &[]).unwrap();
    assert_eq!(running.wait().exit, code(7));
    let running = fixture.sh("sleep 1000").start();
    let wrong = running.call(Request::Signal { target: Target::Init, signal: 99 }, &[]);
    assert_eq!(wrong, Err("kill: errno 22".into()));
    running.call(Request::Signal { target: Target::Init, signal: 9 }, &[]).unwrap();
    let record = running.wait();
    assert_eq!((record.exit, record.exit.code()), (Exit::Signal(9), 137));
}

fn hundred() {
    let fixture = Fixture::new();
    let start = |n: usize| {
        let fixture = &fixture;
        move || {
            let running = fixture.sh(&format!("echo {n}; exit {n}")).start();
            let record = running.wait();
            (record.exit, running.logged())
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..100).map(|n| scope.spawn(start(n))).collect();
        for (n, thread) in threads.into_iter().enumerate() {
            let (exit, logged) = thread.join().unwrap();
            assert_eq!((exit, logged), (code(n as i32), vec![("stdout".into(), format!("{n}\n"))]));
        }
    });
}

fn large_plan() {
    let fixture = Fixture::new();
    let container = fixture.sh("echo ${#LARGE}").spec(|spec| {
        let large: String = format!("LARGE={}", "x".repeat(100_000));
        spec["process"]["env"] =
            serde_json::json!(["PATH=/bin", large, format!("MORE={}", "y".repeat(120_000))]);
    });
    let running = container.start();
    assert_eq!(running.wait().exit, code(0));
    assert_eq!(running.logged()[0].1, "100000\n");
}

fn host_pids() {
    let fixture = Fixture::new();
    let container = fixture.sh("sleep 1000 & echo $!; exit 5").spec(|spec| {
        spec["linux"]["namespaces"] = serde_json::json!([{ "type": "mount" }]);
    });
    let running = container.start();
    assert_eq!(running.wait().exit, code(5));
    let child: i32 = running.logged()[0].1.trim().parse().unwrap();
    eventually("its child is killed", || !is_alive(child));
    running.remove_cgroup();
}

fn out_of_memory() {
    let fixture = Fixture::new();
    let container = fixture.sh("dd if=/dev/zero of=/dev/null bs=200M count=1").spec(|spec| {
        spec["linux"]["resources"] = serde_json::json!({ "memory": { "limit": 16 << 20, "swap": 16 << 20 } });
    });
    let running = container.start();
    let count = until(&running.started.connection, |event| match event {
        Event::OomKill { count } => Some(count),
        Event::Exited(_) => Some(0),
        _ => None,
    });
    assert!(count > 0);
    assert!(running.wait().oom_killed);
}
