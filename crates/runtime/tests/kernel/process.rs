//! What a process is: identity, privileges, limits, scheduling, filter, descriptors, terminal.

use std::io::Read as _;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use serde_json::json;

use crate::bundle::{Bundle, eventually};

#[test]
fn exit_codes_are_passed_on() {
    assert_eq!(Bundle::new("exit 7").run().code, 7);
    let answer = Bundle::new("(sleep 1; kill -9 $$) & exec sleep 60");
    // Process 1 of a pid namespace cannot be killed from within.
    let mut killed = answer;
    killed.namespace("pid", None);
    assert_eq!(killed.run().code, 137);
}

#[test]
fn a_user_has_its_ids_groups_and_mask() {
    let mut bundle = Bundle::new("id -u; id -g; id -G; umask");
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 0o077}));
    assert_eq!(bundle.run().ok(), "1000\n1001\n1001 5 6\n0077");
}

#[test]
fn capabilities_are_exactly_those_given() {
    let mut bundle = Bundle::new("grep Cap /proc/self/status");
    bundle.set("/process/user/uid", json!(1000));
    let two = json!(["CAP_KILL", "CAP_CHOWN"]);
    for set in ["bounding", "effective", "permitted", "inheritable"] {
        bundle.set(&format!("/process/capabilities/{set}"), two.clone());
    }
    bundle.set("/process/capabilities/ambient", json!(["CAP_KILL"]));
    let out = bundle.run().ok();
    let set = |name: &str| {
        let line = out.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    assert_eq!(set("CapBnd:"), 0x21);
    assert_eq!(set("CapInh:"), 0x21);
    // Across exec an ordinary user keeps the ambient ones.
    assert_eq!((set("CapAmb:"), set("CapEff:"), set("CapPrm:")), (0x20, 0x20, 0x20));
}

#[test]
fn without_capabilities_named_there_are_none() {
    let mut bundle = Bundle::new("grep -E 'Cap(Eff|Prm|Bnd)' /proc/self/status");
    bundle.spec["process"].as_object_mut().unwrap().remove("capabilities");
    let out = bundle.run().ok();
    assert!(out.lines().all(|line| line.ends_with("\t0000000000000000")), "{out}");
}

#[test]
fn a_capability_that_nobody_has_is_refused_by_name() {
    let available = fs_err::read_to_string("/proc/self/status").unwrap();
    let mask = available.lines().find_map(|line| line.strip_prefix("CapPrm:")).unwrap().trim();
    let has = u64::from_str_radix(mask, 16).unwrap() & (1 << 24) != 0;
    let mut bundle = Bundle::new("true");
    for set in ["bounding", "effective", "permitted"] {
        bundle.set(&format!("/process/capabilities/{set}"), json!(["CAP_SYS_RESOURCE"]));
    }
    let answer = bundle.run();
    // config.md: what cannot be granted is warned of, and no failure.
    assert_eq!(answer.code, 0, "{answer:?}");
    let warning = "ignoring unknown or unavailable capabilities: [CAP_SYS_RESOURCE]";
    assert_eq!(answer.err.contains(warning), !has, "{answer:?}");
}

#[test]
fn no_new_privileges_is_set_or_not() {
    for wanted in [true, false] {
        let mut bundle = Bundle::new("grep NoNewPrivs /proc/self/status");
        bundle.set("/process/noNewPrivileges", json!(wanted));
        assert_eq!(bundle.run().ok(), format!("NoNewPrivs:\t{}", u8::from(wanted)));
    }
}

#[test]
fn limits_are_set() {
    let mut bundle = Bundle::new("grep -E 'open files|core' /proc/self/limits");
    let limit = |kind: &str, soft: u64, hard: u64| json!({"type": kind, "soft": soft, "hard": hard});
    bundle.set("/process/rlimits", json!([limit("RLIMIT_NOFILE", 5, 6), limit("RLIMIT_CORE", 1, 2)]));
    let out = bundle.run().ok();
    let words: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0][4..6], ["1", "2"]);
    assert_eq!(words[1][3..5], ["5", "6"]);
}

#[test]
fn the_out_of_memory_score_is_set() {
    let mut bundle = Bundle::new("cat /proc/self/oom_score_adj");
    bundle.set("/process/oomScoreAdj", json!(321));
    assert_eq!(bundle.run().ok(), "321");
}

#[test]
fn scheduling_priority_and_personality_are_set() {
    let mut bundle = Bundle::new(
        "uname -m; ionice -p $$; grep -E '^(policy|prio) ' /proc/self/sched; cat /proc/self/stat",
    );
    bundle.set("/linux/personality", json!({"domain": "LINUX32"}));
    bundle.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6}));
    bundle.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 5}));
    let out = bundle.run().out;
    let lines: Vec<&str> = out.lines().collect();
    assert_ne!(lines[0], "x86_64");
    assert_eq!(lines[1], "best-effort: prio 6");
    let stat: Vec<&str> = lines.last().unwrap().rsplit(')').next().unwrap().split_whitespace().collect();
    assert_eq!((stat[16], stat[38]), ("5", "3"), "nice value and policy");
}

#[test]
fn exec_takes_its_cpus_and_attributes_from_a_file() {
    let bundle = Bundle::new("exec sleep 60");
    bundle.start();
    let process = json!({
        "args": ["sh", "-c", "grep Cpus_allowed_list /proc/self/status; id -u; pwd"],
        "env": ["PATH=/bin"], "cwd": "/tmp", "user": {"uid": 3, "gid": 4},
        "execCPUAffinity": {"initial": "0", "final": "0"},
    });
    fs_err::write(bundle.path("process.json"), process.to_string()).unwrap();
    let file = bundle.path("process.json");
    let out = bundle.command(&["exec", "--process", file.to_str().unwrap(), &bundle.id]).ok();
    assert_eq!(out, "Cpus_allowed_list:\t0\n3\n/tmp");
}

#[test]
fn kernel_parameters_of_own_namespaces_are_set() {
    let mut bundle = Bundle::new("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced");
    bundle.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1", "kernel/shm_rmid_forced": "1"}));
    assert_eq!(bundle.run().ok(), "1\n1");
    bundle.set("/linux/sysctl", json!({"vm.swappiness": "1"}));
    bundle.run().refused("not in a separate kernel namespace");
}

#[test]
fn a_filter_is_in_force_with_and_without_new_privileges() {
    for no_new_privs in [true, false] {
        let mut bundle = Bundle::new("mkdir /tmp/x; grep -E '^Seccomp:' /proc/self/status");
        bundle.set("/process/noNewPrivileges", json!(no_new_privs));
        let rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28});
        bundle.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}));
        let answer = bundle.run();
        assert!(answer.err.contains("No space left on device"), "{answer:?}");
        assert_eq!(answer.out, "Seccomp:\t2");
    }
}

#[test]
fn notifications_reach_the_agent() {
    let mut bundle = Bundle::new("exec sleep 60");
    let path = bundle.path("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let rule = json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"});
    bundle.set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule],
            "listenerPath": path, "listenerMetadata": "hello",
        }),
    );
    bundle.start();
    let (stream, _) = listener.accept().unwrap();
    let mut buffer = [0; 4096];
    let (length, fds) = skiff_sys::socket::receive(stream.as_fd(), &mut buffer).unwrap();
    let state: serde_json::Value = serde_json::from_slice(&buffer[..length]).unwrap();
    assert_eq!((&state["metadata"], &state["fds"]), (&json!("hello"), &json!(["seccompFd"])));
    assert_eq!((&state["state"]["id"], fds.len()), (&json!(bundle.id), 1));
    assert_eq!(state["pid"], bundle.state("pid"));
}

#[test]
fn only_the_standard_streams_are_open() {
    // The listing itself opens one.
    let out = Bundle::new("ls /proc/self/fd").run().ok();
    assert_eq!(out.lines().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
}

#[test]
fn a_process_is_in_a_session_of_its_own() {
    let bundle = Bundle::new("cat /proc/self/stat; exec sleep 60");
    bundle.start();
    let session = |stat: &str| stat.rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap().to_owned();
    eventually("the output", || bundle.output().ends_with('\n'));
    assert_eq!(session(&bundle.output()), "1");
    let out = bundle.command(&["exec", &bundle.id, "cat", "/proc/self/stat"]).ok();
    assert_eq!(session(&out), out.split(' ').next().unwrap());
}

#[test]
fn preserved_descriptors_are_at_their_numbers() {
    let bundle = Bundle::new("ls /proc/self/fd; cat <&3; cat <&4");
    bundle.write();
    let directory = bundle.path("").display().to_string();
    fs_err::write(bundle.path("three"), "three").unwrap();
    fs_err::write(bundle.path("four"), "four").unwrap();
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(format!(
        "exec {} --root {directory}/state run --preserve-fds 2 --bundle {directory} {} 3<{directory}/three 4<{directory}/four",
        env!("CARGO_BIN_EXE_skiff-runtime"),
        bundle.id
    ));
    let out = crate::bundle::answer(shell.stdin(std::process::Stdio::null())).ok();
    assert_eq!(out, "0\n1\n2\n3\n4\n5\nthreefour");
}

#[test]
fn the_working_directory_is_made_and_never_outside() {
    let mut bundle = Bundle::new("pwd");
    bundle.set("/process/cwd", json!("/new/place"));
    assert_eq!(bundle.run().ok(), "/new/place");
    // CVE-2024-21626: a descriptor of the runtime's that leads to the host.
    for number in 3..12 {
        bundle.set("/process/cwd", json!(format!("/proc/self/fd/{number}")));
        let answer = bundle.run();
        assert_ne!(answer.code, 0, "{answer:?}");
    }
}

#[test]
fn programs_that_cannot_be_run_are_told_apart() {
    let mut bundle = Bundle::new("true");
    fs_err::write(bundle.root("etc/plain"), "text").unwrap();
    fs_err::write(bundle.root("bin/broken"), "text").unwrap();
    fs_err::set_permissions(bundle.root("bin/broken"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    for (program, words) in [
        ("nope", r#"exec: \"nope\": executable file not found in $PATH"#),
        ("/nope", r#"exec: \"/nope\": stat /nope: no such file or directory"#),
        ("/etc/plain", r#"exec: \"/etc/plain\": permission denied"#),
        ("/bin", r#"exec: \"/bin\": is a directory"#),
        ("/bin/broken", "exec /bin/broken: exec format error"),
    ] {
        bundle.set("/process/args", json!([program]));
        bundle.run().refused(words);
        assert_eq!(bundle.left_overs(), Vec::<String>::new());
    }
}

#[test]
fn a_terminal_goes_to_the_console_socket() {
    let mut bundle = Bundle::new("tty; stty size; test -c /dev/console && echo console; exec sleep 60");
    bundle.set("/process/terminal", json!(true));
    bundle.set("/process/consoleSize", json!({"height": 40, "width": 100}));
    bundle.write();
    let path = bundle.path("console.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let directory = bundle.path("").display().to_string();
    let args = ["create", "--bundle", &directory, "--console-socket", path.to_str().unwrap(), &bundle.id];
    let status = bundle.runtime(&args).stdout(std::process::Stdio::null()).status().unwrap();
    assert!(status.success());
    let (stream, _) = listener.accept().unwrap();
    let (_, mut fds) = skiff_sys::socket::receive(stream.as_fd(), &mut [0; 64]).unwrap();
    let mut master = std::fs::File::from(fds.pop().expect("the master of the terminal"));
    bundle.command(&["start", &bundle.id]).ok();
    let mut seen = String::new();
    let mut buffer = [0; 256];
    while !seen.contains("console\r\n") {
        let length = master.read(&mut buffer).unwrap();
        seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    assert_eq!(seen, "/dev/pts/0\r\n40 100\r\nconsole\r\n");
}

#[test]
fn a_terminal_needs_somebody_to_take_it() {
    let mut bundle = Bundle::new("true");
    bundle.set("/process/terminal", json!(true));
    bundle.create().refused("console socket");
    bundle.set("/process/terminal", json!(false));
    bundle.run_with(&["--console-socket", "/nowhere"]).refused("console socket");
}

#[test]
fn nobody_in_the_container_can_look_into_the_runtime() {
    // CVE-2019-5736: the interpreter of a script is the runtime's own binary, and must not be a file of the host's.
    let bundle = Bundle::new("exec sleep 60");
    fs_err::write(bundle.root("bin/self"), "#!/proc/self/exe\n").unwrap();
    fs_err::set_permissions(bundle.root("bin/self"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    bundle.start();
    let before = fs_err::metadata(env!("CARGO_BIN_EXE_skiff-runtime")).unwrap();
    let _ = bundle.command(&["exec", &bundle.id, "/bin/self"]);
    let after = fs_err::metadata(env!("CARGO_BIN_EXE_skiff-runtime")).unwrap();
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
    eventually("the container goes on", || bundle.state("status") == "running");
}
