//! Storage: what images and containers are kept on.

use std::path::{Path, PathBuf};

use super::{Finding, line};

/// Below this much, things begin to fail.
const LITTLE: u64 = 1 << 30;

/// File systems that overlayfs takes no upper directory on, by their magic number (statfs(2)).
const NO_UPPER: [(u64, &str); 5] = [
    (0x794c_7630, "overlay"),
    (0x6969, "nfs"),
    (0xff53_4d42, "cifs"),
    (0xf15f, "ecryptfs"),
    (0x6573_5546, "fuse"),
];

pub(super) fn findings(root: &Path) -> Vec<Finding> {
    let mut out =
        vec![file_system("overlay", "containers cannot be layered: every one is a full copy", true)];
    out.push(file_system("erofs", "images are unpacked instead of mounted", false));
    out.extend(place(root));
    out
}

fn file_system(name: &str, without: &str, needed: bool) -> Finding {
    let known =
        line("/proc/filesystems").lines().any(|l| l.split_ascii_whitespace().next_back() == Some(name));
    if known || module_exists(name) {
        return Finding::good(format!("file system {name}"));
    }
    let remedy = format!("use a kernel with CONFIG_{}_FS", name.to_uppercase());
    let text = format!("no file system {name}: {without}");
    if needed { Finding::bad(text, remedy) } else { Finding::note(text, remedy) }
}

/// Whether the running kernel can load a module of this name.
pub(super) fn module_exists(name: &str) -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let listed = |file: &str| {
        let text = line(&format!("/lib/modules/{release}/{file}"));
        let wanted = format!("/{name}.ko");
        text.lines().any(|l| l.split(':').next().is_some_and(|path| path.contains(&wanted)))
    };
    Path::new(&format!("/sys/module/{name}")).exists() || listed("modules.dep") || listed("modules.builtin")
}

/// The directory, or the nearest above it that is there.
fn existing(path: &Path) -> PathBuf {
    path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/")).to_owned()
}

fn place(root: &Path) -> Vec<Finding> {
    let at = existing(root);
    let Ok(stat) = rustix::fs::statfs(&at) else {
        return vec![Finding::bad(
            format!("{} cannot be looked at", at.display()),
            "choose another --data-root",
        )];
    };
    let mut out = Vec::new();
    let magic = stat.f_type as u64 & 0xffff_ffff;
    match NO_UPPER.iter().find(|(number, _)| *number == magic) {
        Some((_, name)) => out.push(Finding::note(
            format!("{} lies on {name}, which cannot carry container layers: they are copied", at.display()),
            "choose a --data-root on ext4, xfs or btrfs",
        )),
        None => out.push(Finding::good(format!("{} can carry container layers", at.display()))),
    }
    let free = stat.f_bavail.saturating_mul(stat.f_bsize.unsigned_abs());
    let share = (stat.f_ffree * 100).checked_div(stat.f_files).unwrap_or(100);
    let shown = format!("{:.1} GB", free as f64 / 1e9);
    match free < LITTLE || share < 2 {
        true => out.push(Finding::note(
            format!("{} has {shown} left, and {share} % of its inodes", at.display()),
            "skiff system prune, or a larger disk",
        )),
        false => out.push(Finding::good(format!("{shown} free"))),
    }
    out.push(quotas(&at));
    out
}

fn quotas(at: &Path) -> Finding {
    match fs_err::File::open(at).is_ok_and(skiff_sys::quota::can_limit) {
        true => Finding::good("containers and volumes can have a size"),
        false => Finding::note(
            format!(
                "{} enforces no project quotas: containers and volumes can have no size (--storage-opt, -o size=)",
                at.display()
            ),
            "mount xfs with pquota, or ext4 (made with -O quota,project) with prjquota",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_yet_is_judged_by_what_is_above_it() {
        assert_eq!(existing(Path::new("/proc/nonexistent/x/y")), Path::new("/proc"));
    }
}
