//! A virtual machine and its console. It is emulated (TCG): KVM inside a virtual machine may be there and not work.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Instant;

use anyhow::{Context, Result};

/// Two processors that take turns: emulated side by side, one of them now and then runs into a breakpoint that the kernel sets
/// while it patches its own code (an Oops in `int3`).
const EMULATION: &str = "tcg,thread=single";

/// Everything that is emulated, but 16-byte compare and exchange, with which QEMU 7.2's emulation of two processors makes kernels crash, and five
/// levels of page tables, which only cost time.
const CPU: &str = "max,-cx16,-la57";

/// What a machine is made of.
pub(crate) struct Parts<'a> {
    pub(crate) kernel: &'a Path,
    pub(crate) initramfs: &'a Path,
    pub(crate) disk: &'a Path,
    /// The script on the disk that it runs.
    pub(crate) run: &'a str,
}

/// A running machine. Dropping it is a power cut.
pub(crate) struct Machine(Child);

/// What a machine says.
pub(crate) struct Console(Receiver<String>);

/// What comes from the console.
pub(crate) enum Said {
    Line(String),
    /// The machine has turned itself off.
    Off,
    /// It has said nothing until then.
    Timeout,
}

impl Machine {
    /// Boots.
    pub(crate) fn boot(parts: &Parts<'_>) -> Result<(Self, Console)> {
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(["-accel", EMULATION, "-cpu", CPU, "-smp", "2", "-m", "2048"])
            .args(["-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-serial", "stdio"])
            .arg("-drive")
            .arg(format!("file={},format=raw,if=virtio,cache=writeback", parts.disk.display()))
            .arg("-kernel")
            .arg(parts.kernel)
            .arg("-initrd")
            .arg(parts.initramfs)
            .arg("-append")
            .arg(format!(
                "console=ttyS0 quiet loglevel=2 panic=-1 cgroup_no_v1=all mitigations=off apparmor=1 security=apparmor run={}",
                parts.run
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut process = command.spawn().context("cannot run qemu-system-x86_64")?;
        let output = process.stdout.take().context("the console is a pipe")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                    break;
                }
            }
        });
        Ok((Self(process), Console(lines)))
    }
}

impl Console {
    /// The next line.
    pub(crate) fn read(&self, until: Instant) -> Said {
        match self.0.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => Said::Line(line),
            Err(RecvTimeoutError::Disconnected) => Said::Off,
            Err(RecvTimeoutError::Timeout) => Said::Timeout,
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}
