//! Ways out of a container that others have found, tried on ours. None may lead anywhere.

use std::os::unix::fs::symlink;

use serde_json::json;

use crate::bundle::{Answer, Bundle};

/// Descriptors that a runtime may have open when it looks at paths of the container's choice.
const NUMBERS: std::ops::Range<u32> = 3..24;

/// That nothing was found at a path: no such descriptor, or one that is no directory.
#[track_caller]
fn leads_nowhere(answer: &Answer) {
    assert_ne!(answer.code, 0, "{answer:?}");
    let words = ["no such file or directory", "not a directory"];
    assert!(words.iter().any(|words| answer.err.contains(words)), "{answer:?}");
}

/// CVE-2024-21626, by the program: a descriptor of the host's procfs has the host's root above it, and a host's program
/// that runs in a container can be overwritten through `/proc/self/exe`.
#[test]
fn no_program_is_found_through_the_runtimes_descriptors() {
    let mut bundle = Bundle::new("true");
    for number in NUMBERS {
        for up in ["..", "../..", "1/root"] {
            bundle.set("/process/args", json!([format!("/proc/self/fd/{number}/{up}/bin/busybox"), "true"]));
            leads_nowhere(&bundle.run());
        }
    }
    let search: Vec<String> = NUMBERS.map(|number| format!("/proc/self/fd/{number}/../bin")).collect();
    bundle.set("/process/env", json!([format!("PATH={}", search.join(":"))]));
    bundle.set("/process/args", json!(["busybox", "true"]));
    bundle.run().refused("executable file not found in $PATH");
}

#[test]
fn neither_is_that_of_an_exec() {
    let bundle = Bundle::new("exec sleep 60");
    bundle.start();
    for number in NUMBERS {
        let program = format!("/proc/self/fd/{number}/../bin/busybox");
        leads_nowhere(&bundle.command(&["exec", &bundle.id, &program, "true"]));
        let place = format!("/proc/self/fd/{number}");
        leads_nowhere(&bundle.command(&["exec", "--cwd", &place, &bundle.id, "pwd"]));
    }
}

/// The loader of an image's program is a path of the image's choice, too, and the kernel looks it up last of all.
#[test]
fn an_interpreter_is_not_found_there_either() {
    let mut bundle = Bundle::new("true");
    for number in NUMBERS {
        fs_err::write(bundle.root("bin/script"), format!("#!/proc/self/fd/{number}/../bin/busybox\n"))
            .unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs_err::set_permissions(bundle.root("bin/script"), mode).unwrap();
        bundle.set("/process/args", json!(["/bin/script"]));
        leads_nowhere(&bundle.run());
    }
}

/// CVE-2025-52565: a link where the console is to be bound must not choose what is covered by it.
#[test]
fn a_console_is_bound_to_no_links_target() {
    let mut bundle = Bundle::new("true");
    let devices = tempfile::tempdir().unwrap();
    fs_err::create_dir(devices.path().join("pts")).unwrap();
    symlink("/proc/sys/kernel/core_pattern", devices.path().join("console")).unwrap();
    let mounts = bundle.spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/dev");
    let source = devices.path().to_str().unwrap();
    mounts.insert(1, json!({"destination": "/dev", "type": "bind", "source": source, "options": ["bind"]}));
    bundle.set(
        "/process/args",
        json!(["sh", "-c", "stat -c %F /proc/sys/kernel/core_pattern; cat /proc/sys/kernel/core_pattern"]),
    );
    bundle.set("/process/terminal", json!(true));
    bundle.write();
    let path = bundle.path("console.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let directory = bundle.path("").display().to_string();
    let args =
        ["run", "--detach", "--bundle", &directory, "--console-socket", path.to_str().unwrap(), &bundle.id];
    let answer = bundle.command(&args);
    if answer.code == 0 {
        use std::{io::Read as _, os::fd::AsFd as _};
        let (stream, _) = listener.accept().unwrap();
        let (_, mut fds) = skiff_sys::socket::receive(stream.as_fd(), &mut [0; 64]).unwrap();
        let mut master = std::fs::File::from(fds.pop().unwrap());
        let mut seen = String::new();
        // The end of the program's side is an error for the reader.
        let _ = master.read_to_string(&mut seen);
        assert!(seen.starts_with("regular"), "{seen}");
    }
}

/// CVE-2019-16884 and CVE-2023-28642: a root file system in which `/proc` or `/sys` is a link.
#[test]
fn the_kernels_file_systems_are_behind_no_link() {
    for name in ["proc", "sys"] {
        let mut bundle = Bundle::new("true");
        fs_err::remove_dir(bundle.root(name)).unwrap();
        fs_err::create_dir(bundle.root("elsewhere")).unwrap();
        symlink("/elsewhere", bundle.root(name)).unwrap();
        bundle.add("/mounts", json!({"destination": "/sys", "type": "sysfs", "source": "sysfs"}));
        bundle.run().refused("must be mounted on ordinary directory");
    }
}

/// CVE-2025-52881: what is written on the container's behalf goes to the real procfs, whatever is mounted over it.
#[test]
fn parameters_are_not_written_where_a_mount_leads() {
    let mut bundle = Bundle::new("cat /proc/sys/net/ipv4/ip_forward");
    bundle.add("/mounts", json!({"destination": "/proc/sys", "type": "tmpfs", "source": "tmpfs"}));
    bundle.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    let answer = bundle.run();
    assert!(answer.err.contains("No such file"), "{answer:?}");
}
