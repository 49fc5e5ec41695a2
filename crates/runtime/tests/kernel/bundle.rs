//! A bundle with busybox in it, and the runtime to start it with.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The runtime under test.
const RUNTIME: &str = env!("CARGO_BIN_EXE_skiff-runtime");

/// Programs of busybox that the tests call.
const APPLETS: &[&str] = &[
    "cat", "chmod", "echo", "grep", "hostname", "id", "ionice", "kill", "ls", "mkdir", "mount", "ps", "pwd",
    "readlink", "sh", "sleep", "stat", "stty", "test", "touch", "true", "tty", "umask", "uname", "wc",
];

static NEXT: AtomicU32 = AtomicU32::new(0);

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Answer {
    /// The output of a command that succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// That it failed, with these words.
    #[track_caller]
    pub(crate) fn refused(self, words: &str) {
        assert_ne!(self.code, 0, "{self:?}");
        assert!(self.err.contains(words), "{:?} does not say {words:?}", self.err);
    }
}

/// A bundle and its container.
pub(crate) struct Bundle {
    directory: TempDir,
    pub(crate) id: String,
    pub(crate) spec: Value,
}

impl Bundle {
    /// A container that runs a shell script.
    pub(crate) fn new(script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("rootfs");
        for name in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
            fs_err::create_dir_all(root.join(name)).unwrap();
        }
        fs_err::copy("/bin/busybox", root.join("bin/busybox")).expect("Debian's busybox-static is needed");
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = format!("test-{}-{number}", std::process::id());
        Self { spec: spec(script), directory, id }
    }

    /// A path in the bundle.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A path in the root file system.
    pub(crate) fn root(&self, name: &str) -> PathBuf {
        self.path("rootfs").join(name)
    }

    /// Sets a part of the specification, by JSON pointer.
    pub(crate) fn set(&mut self, pointer: &str, value: Value) -> &mut Self {
        let mut place = &mut self.spec;
        for key in pointer.split('/').skip(1) {
            place = place.as_object_mut().unwrap().entry(key).or_insert_with(|| json!({}));
        }
        *place = value;
        self
    }

    /// Adds to a list of the specification.
    pub(crate) fn add(&mut self, pointer: &str, value: Value) -> &mut Self {
        self.spec.pointer_mut(pointer).unwrap().as_array_mut().unwrap().push(value);
        self
    }

    /// Replaces a namespace.
    pub(crate) fn namespace(&mut self, kind: &str, value: Option<Value>) -> &mut Self {
        let list = self.spec.pointer_mut("/linux/namespaces").unwrap().as_array_mut().unwrap();
        list.retain(|namespace| namespace["type"] != kind);
        list.extend(value);
        self
    }

    /// A command of the runtime, ready to be spawned.
    pub(crate) fn runtime(&self, args: &[&str]) -> Command {
        let mut command = Command::new(RUNTIME);
        command.arg("--root").arg(self.path("state")).args(args).stdin(Stdio::null());
        command
    }

    /// A command of the runtime, to its end.
    pub(crate) fn command(&self, args: &[&str]) -> Answer {
        answer(&mut self.runtime(args))
    }

    /// Writes the specification.
    pub(crate) fn write(&self) {
        fs_err::write(self.path("config.json"), self.spec.to_string()).unwrap();
    }

    /// Runs the container in the foreground.
    pub(crate) fn run(&self) -> Answer {
        self.run_with(&[])
    }

    /// Likewise, with options.
    pub(crate) fn run_with(&self, options: &[&str]) -> Answer {
        self.write();
        let bundle = self.directory.path().to_str().unwrap();
        let args = [&["run", "--bundle", bundle], options, &[&self.id]].concat();
        self.command(&args)
    }

    /// Creates the container; its output goes to the file `output` of the bundle, because it outlives the command.
    pub(crate) fn create(&self) -> Answer {
        self.write();
        let bundle = self.directory.path().to_str().unwrap();
        let output = fs_err::File::create(self.path("output")).unwrap().into_parts().0;
        let errors = fs_err::File::create(self.path("errors")).unwrap().into_parts().0;
        let mut command = self.runtime(&["create", "--bundle", bundle, &self.id]);
        let status = command.stdout(output).stderr(errors).status().unwrap();
        let read = |name: &str| fs_err::read_to_string(self.path(name)).unwrap();
        Answer { code: status.code().unwrap(), out: read("output"), err: read("errors") }
    }

    /// Creates and starts it.
    #[track_caller]
    pub(crate) fn start(&self) {
        self.create().ok();
        self.command(&["start", &self.id]).ok();
    }

    /// What `state` says in a field.
    #[track_caller]
    pub(crate) fn state(&self, field: &str) -> Value {
        let text = self.command(&["state", &self.id]).ok();
        serde_json::from_str::<Value>(&text).unwrap()[field].clone()
    }

    /// What the container has written so far.
    pub(crate) fn output(&self) -> String {
        fs_err::read_to_string(self.path("output")).unwrap()
    }

    /// Whether anything is left of the container on the host.
    pub(crate) fn left_overs(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mountinfo = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
        let directory = self.directory.path().to_str().unwrap();
        found.extend(mountinfo.lines().filter(|line| line.contains(directory)).map(str::to_owned));
        for entry in fs_err::read_dir("/sys/fs/cgroup").unwrap() {
            let path = entry.unwrap().path().join("skiff").join(&self.id);
            if path.exists() {
                found.push(path.display().to_string());
            }
        }
        if Path::new("/sys/fs/cgroup/skiff").join(&self.id).exists() {
            found.push("/sys/fs/cgroup/skiff".to_owned());
        }
        if self.path("state").join(&self.id).exists() {
            found.push("state".to_owned());
        }
        found
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let answer = self.command(&["delete", "--force", &self.id]);
        if !std::thread::panicking() {
            assert_eq!(answer.code, 0, "{answer:?}");
            assert_eq!(self.left_overs(), Vec::<String>::new());
        }
    }
}

/// Gives a tree to a user and his group.
pub(crate) fn give_to(tree: &Path, user: u32) {
    std::os::unix::fs::lchown(tree, Some(user), Some(user)).unwrap();
    if tree.symlink_metadata().unwrap().is_dir() {
        for entry in fs_err::read_dir(tree).unwrap() {
            give_to(&entry.unwrap().path(), user);
        }
    }
}

/// Runs a command to its end.
pub(crate) fn answer(command: &mut Command) -> Answer {
    let output = command.output().unwrap();
    Answer {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).trim_end().to_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Waits until something becomes so; fails after ten seconds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("it never came about: {what}");
}

fn spec(script: &str) -> Value {
    let kinds = ["pid", "network", "ipc", "uts", "mount", "cgroup"];
    let namespaces: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind})).collect();
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["sh", "-c", script],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": {"bounding": [], "effective": [], "permitted": []},
        },
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["newinstance", "ptmxmode=0666", "mode=0620"]},
        ],
        "linux": {"namespaces": namespaces},
    })
}
