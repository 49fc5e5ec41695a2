//! The kernel: its age, its namespaces, its filters.

use super::{Finding, line};

/// The oldest kernel with every system call that containers are made with (`mount_setattr`, 5.12).
const OLDEST: (u32, u32) = (5, 12);
/// From here on images are mounted as they are (erofs on files).
const MOUNTS_IMAGES: (u32, u32) = (6, 12);

pub(super) fn findings() -> Vec<Finding> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut out = vec![age(&release)];
    out.extend(namespaces());
    out.extend(filters());
    out.push(privileges());
    out
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn age(release: &str) -> Finding {
    match version(release) {
        None => Finding::note(format!("kernel {release}: a version that says nothing"), ""),
        Some(version) if version < OLDEST => Finding::bad(
            format!("kernel {release} lacks system calls that containers are made with"),
            format!("use Linux {}.{} or newer", OLDEST.0, OLDEST.1),
        ),
        Some(version) if version < MOUNTS_IMAGES => Finding::note(
            format!("kernel {release} cannot mount images as they are: they are unpacked instead"),
            format!("Linux {}.{} or newer starts and stores them quicker", MOUNTS_IMAGES.0, MOUNTS_IMAGES.1),
        ),
        Some(_) => Finding::good(format!("kernel {release}")),
    }
}

fn namespaces() -> Vec<Finding> {
    let missing: Vec<&str> = ["mnt", "pid", "net", "ipc", "uts"]
        .into_iter()
        .filter(|kind| !std::path::Path::new(&format!("/proc/self/ns/{kind}")).exists())
        .collect();
    let mut out = vec![match missing.as_slice() {
        [] => Finding::good("namespaces: mount, pid, network, ipc, uts"),
        missing => Finding::bad(
            format!("the kernel has no {} namespaces", missing.join(", ")),
            "use a kernel with CONFIG_NAMESPACES and all kinds below it",
        ),
    }];
    if !std::path::Path::new("/proc/self/ns/cgroup").exists() {
        out.push(Finding::note(
            "no cgroup namespaces: containers see the host's cgroup paths",
            "use a kernel with CONFIG_CGROUPS",
        ));
    }
    if line("/proc/sys/user/max_user_namespaces") == "0" {
        out.push(Finding::note(
            "user namespaces are turned off: remapped and rootless containers do not run",
            "sysctl -w user.max_user_namespaces=15000",
        ));
    }
    out
}

fn filters() -> Vec<Finding> {
    let status = line("/proc/self/status");
    let seccomp =
        match status.lines().any(|line| line.starts_with("Seccomp_filters:") || line.starts_with("Seccomp:"))
        {
            true => Finding::good("seccomp filters"),
            false => Finding::bad(
                "no seccomp filters: containers may call everything that the kernel has",
                "use a kernel with CONFIG_SECCOMP_FILTER",
            ),
        };
    let modules = line("/sys/kernel/security/lsm");
    let has = |name: &str| modules.split(',').any(|module| module == name);
    let confined = match (has("apparmor"), has("selinux")) {
        (true, _) => Finding::good("AppArmor is on"),
        (_, true) => Finding::good("SELinux is on"),
        _ => Finding::note(
            "neither AppArmor nor SELinux is on: one line of defence less",
            "boot with lsm=…,apparmor if the kernel has it",
        ),
    };
    vec![seccomp, confined]
}

fn privileges() -> Finding {
    match rustix::process::geteuid().is_root() {
        true => Finding::good("you are root"),
        false => Finding::note(
            "you are not root: the daemon needs to be, and some of this cannot be seen",
            "run it again with sudo",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn old_kernels_are_told_from_new_ones() {
        for (release, verdict) in [
            ("4.19.0-1-amd64", Verdict::Bad),
            ("5.11.22", Verdict::Bad),
            ("5.12-rc1", Verdict::Note),
            ("6.1.0-18-amd64", Verdict::Note),
            ("6.12.1", Verdict::Good),
            ("7.0", Verdict::Good),
            ("odd", Verdict::Note),
        ] {
            assert_eq!(age(release).verdict, verdict, "{release}");
        }
    }
}
