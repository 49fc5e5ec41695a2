//! The program of the `hello-world` image: says what it finds itself to be.
//!
//! It runs as the only process of a container without a shell, so everything it says comes from `/proc`, `/sys` and
//! `/etc`. Built by `build.rs` on its own, with nothing but the standard library.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

fn main() {
    let since_create = age_of("/etc/hostname");
    println!("\nHello from Skiff: this container works.\n");
    println!("  I am         pid {} on host name {}", std::process::id(), line("/proc/sys/kernel/hostname"));
    println!("  namespaces   {}", namespaces());
    println!("  root         {}", root());
    println!("  address      {}", address());
    println!("  limits       {}", limits());
    println!("  seccomp      {}, no new privileges {}", seccomp(), status("NoNewPrivs"));
    println!("  capabilities {}", capabilities());
    if let Some(age) = since_create {
        println!("  time         {:.1} ms from `create` to this line", age.as_secs_f64() * 1e3);
    }
    println!("\nNext: skiff import rootfs.tar debian && skiff run -it debian bash\n");
}

fn line(path: &str) -> String {
    fs::read_to_string(path).map(|s| s.trim().to_owned()).unwrap_or_else(|_| "unknown".into())
}

/// A field of `/proc/self/status`.
fn status(field: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = status.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap_or("unknown").trim().to_owned()
}

/// The engine writes this file when it creates the container.
fn age_of(path: &str) -> Option<Duration> {
    let meta = fs::metadata(path).ok()?;
    let written = UNIX_EPOCH + Duration::new(meta.mtime().try_into().ok()?, meta.mtime_nsec().try_into().ok()?);
    SystemTime::now().duration_since(written).ok()
}

fn namespaces() -> String {
    let names = ["pid", "mnt", "net", "uts", "ipc", "cgroup", "user", "time"];
    let inode = |name: &str| {
        let link = fs::read_link(format!("/proc/self/ns/{name}")).ok()?;
        let text = link.to_string_lossy().into_owned();
        let number = text.split(['[', ']']).nth(1)?.to_owned();
        Some(format!("{name}:{number}"))
    };
    names.iter().filter_map(|name| inode(name)).collect::<Vec<_>>().join(" ")
}

/// The mount at `/`: its type and, for overlay, how many layers lie below the writable one.
fn root() -> String {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let Some(root) = mounts.lines().find(|l| l.split(' ').nth(4) == Some("/")) else {
        return "unknown".into();
    };
    let Some((_, tail)) = root.split_once(" - ") else { return "unknown".into() };
    let kind = tail.split(' ').next().unwrap_or_default();
    let options = tail.rsplit(' ').next().unwrap_or_default();
    let lowers = options
        .split(',')
        .filter_map(|o| o.strip_prefix("lowerdir+=").or_else(|| o.strip_prefix("lowerdir=")))
        .flat_map(|dirs| dirs.split(':'))
        // What mounts stand on lies below every image and is no layer of it.
        .filter(|dir| !dir.ends_with("/skeleton"))
        .count();
    match lowers {
        0 => kind.to_owned(),
        1 => format!("{kind}: 1 image layer under 1 writable"),
        n => format!("{kind}: {n} image layers under 1 writable"),
    }
}

/// The addresses in `/etc/hosts` that carry this host's name.
fn address() -> String {
    let (hosts, name) = (line("/etc/hosts"), line("/proc/sys/kernel/hostname"));
    let own = |l: &&str| l.split_whitespace().skip(1).any(|n| n == name);
    let found: Vec<_> = hosts.lines().filter(own).filter_map(|l| l.split_whitespace().next()).collect();
    if found.is_empty() { "none: no network".into() } else { found.join(" ") }
}

fn limits() -> String {
    let first = |paths: [&str; 2]| paths.iter().find_map(|p| fs::read_to_string(p).ok());
    let base = "/sys/fs/cgroup";
    let memory = [&format!("{base}/memory.max")[..], &format!("{base}/memory/memory.limit_in_bytes")];
    let pids = [&format!("{base}/pids.max")[..], &format!("{base}/pids/pids.max")];
    let memory = first(memory).map_or("unknown".into(), |text| match text.trim().parse::<u64>() {
        Ok(bytes) if bytes < 1 << 60 => format!("{} MiB", bytes >> 20),
        _ => "unlimited".into(),
    });
    let pids = first(pids).map_or("unknown".into(), |text| match text.trim() {
        "max" => "unlimited".into(),
        n => n.to_owned(),
    });
    let files = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = files.lines().find_map(|l| l.strip_prefix("Max open files")?.split_whitespace().next());
    format!("memory {memory}, processes {pids}, open files {}", files.unwrap_or("unknown"))
}

fn seccomp() -> String {
    match status("Seccomp").as_str() {
        "0" => "off".into(),
        "2" => format!("{} filter(s)", status("Seccomp_filters")),
        other => other.into(),
    }
}

fn capabilities() -> String {
    match u64::from_str_radix(&status("CapEff"), 16) {
        Ok(bits) => format!("{} of 41", bits.count_ones()),
        Err(_) => "unknown".into(),
    }
}
