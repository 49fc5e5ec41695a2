//! One run of a health check, whose time is limited: an exec whose output is kept, or a knock at a port.

use std::{sync::Arc, time::Duration};

use skiff_runtime::monitor::protocol::{Request, Target};
use tokio::{io::AsyncReadExt, net::UnixStream, sync::oneshot, task::JoinHandle};

use super::{
    health::{self, Check},
    knock::{self, Outcome},
    parts::Parts,
};
use crate::{
    Result,
    container::{Container, Live},
    execs::{self, Exec, ExecStart},
    model::{ExecConfig, HealthResult, Timestamp, check::Probe},
    signal,
};

/// Bytes of output that are kept.
const KEPT: usize = 4096;
/// How long a start may take: it does not count towards the check's own limit.
const STARTING: Duration = Duration::from_secs(30);
/// How long a killed check is waited for, so that dying ones do not pile up.
const DYING: Duration = Duration::from_secs(10);
/// How long the exit code may take after the end of the output.
const SETTLING: Duration = Duration::from_secs(10);

/// Runs the check once. None if `stopped` comes first: a program is killed then.
pub(super) async fn run(
    parts: &Arc<Parts>,
    container: &Arc<Container>,
    live: &Arc<Live>,
    check: &Check,
    stopped: &mut oneshot::Receiver<()>,
) -> Option<HealthResult> {
    let start = Timestamp::now();
    let (exit_code, output) = match &check.probe {
        Probe::Program(command) => program(parts, container, live, check, command, stopped).await?,
        Probe::Tcp(addresses) => in_time(check, knock::tcp(&parts.opener, live, addresses), stopped).await?,
        Probe::Http(page) => in_time(check, knock::http(&parts.opener, live, page), stopped).await?,
    };
    Some(HealthResult { start, end: Timestamp::now(), exit_code, output })
}

async fn in_time(
    check: &Check,
    knock: impl Future<Output = Outcome>,
    stopped: &mut oneshot::Receiver<()>,
) -> Option<Outcome> {
    tokio::select! {
        biased;
        _ = stopped => None,
        knocked = tokio::time::timeout(check.timeout, knock) => {
            Some(knocked.unwrap_or_else(|_| too_long(check, "")))
        }
    }
}

fn too_long(check: &Check, said: &str) -> Outcome {
    let separator = if said.is_empty() { "" } else { ": " };
    (-1, format!("Health check exceeded timeout ({}){separator}{said}", go(check.timeout)))
}

async fn program(
    parts: &Arc<Parts>,
    container: &Arc<Container>,
    live: &Arc<Live>,
    check: &Check,
    command: &[String],
    stopped: &mut oneshot::Receiver<()>,
) -> Option<Outcome> {
    let mut beginning = tokio::spawn(begin(parts.clone(), container.clone(), live.clone(), command.to_vec()));
    let begun = tokio::select! {
        biased;
        _ = &mut *stopped => {
            kill_once_begun(live.clone(), beginning);
            return None;
        }
        begun = tokio::time::timeout(STARTING, &mut beginning) => begun,
    };
    let (exec, stream) = match begun {
        Ok(begun) => match begun.expect("the start of a check does not panic") {
            Ok(begun) => begun,
            Err(error) => return Some((-1, error.to_string())),
        },
        Err(_) => {
            kill_once_begun(live.clone(), beginning);
            return Some((-1, format!("timed out starting health check for container {}", container.id)));
        }
    };
    let mut output = Output::default();
    let ended = async {
        if let Some(stream) = stream {
            output.read(stream).await;
        }
        tokio::time::timeout(SETTLING, exec.ended()).await
    };
    let outcome = tokio::select! {
        biased;
        _ = &mut *stopped => {
            kill(live, &exec).await;
            return None;
        }
        outcome = tokio::time::timeout(check.timeout, ended) => outcome,
    };
    Some(match outcome {
        Ok(Ok(code)) => {
            // Nobody asks for it again, as people do for theirs.
            container.execs().remove(&exec.id());
            (code, output.text())
        }
        Ok(Err(_)) => (-1, format!("healthcheck for container {} has no exit code", container.id)),
        Err(_) => {
            kill(live, &exec).await;
            too_long(check, &output.text())
        }
    })
}

/// A check that has begun: what runs, and its output.
type Begun = (Arc<Exec>, Option<UnixStream>);

async fn begin(
    parts: Arc<Parts>,
    container: Arc<Container>,
    live: Arc<Live>,
    cmd: Vec<String>,
) -> Result<Begun> {
    let config = ExecConfig { cmd, attach_stdout: true, attach_stderr: true, ..ExecConfig::default() };
    let exec = execs::prepare(&parts, &container, live.clone(), config).await?;
    health::note(&parts, &container, Some(exec.id()));
    let stream = execs::launch(&parts, &container, &live, &exec, ExecStart::default()).await?;
    Ok((exec, stream))
}

/// Lets a start that nobody waits for any more come to its end: the monitor may have been asked already, and in a paused
/// container it answers late. What it started must not stay.
fn kill_once_begun(live: Arc<Live>, beginning: JoinHandle<Result<Begun>>) {
    tokio::spawn(async move {
        if let Ok(Ok((exec, _))) = beginning.await {
            kill(&live, &exec).await;
        }
    });
}

async fn kill(live: &Live, exec: &Exec) {
    let kill = Request::Signal { target: Target::Exec(exec.id()), signal: signal::KILL };
    let dead = async {
        // One that has ended just now needs no signal.
        let _ = live.link.ask(kill, &[]).await;
        exec.ended().await;
    };
    let _ = tokio::time::timeout(DYING, dead).await;
}

/// The beginning of what a check printed, both streams as they came.
#[derive(Default)]
struct Output {
    kept: Vec<u8>,
    cut: bool,
}

impl Output {
    /// Reads frames (8 bytes of header: stream, three zeros, big-endian length) to the end. A stream that breaks has ended.
    async fn read(&mut self, mut stream: UnixStream) {
        let mut header = [0; 8];
        let mut buffer = [0; 2048];
        while stream.read_exact(&mut header).await.is_ok() {
            let mut left = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
            while left > 0 {
                let most = left.min(buffer.len());
                match stream.read(&mut buffer[..most]).await {
                    Ok(0) | Err(_) => return,
                    Ok(n) => {
                        self.keep(&buffer[..n]);
                        left -= n;
                    }
                }
            }
        }
    }

    fn keep(&mut self, data: &[u8]) {
        let room = KEPT - self.kept.len();
        self.kept.extend_from_slice(&data[..data.len().min(room)]);
        self.cut |= data.len() > room;
    }

    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        if self.cut { format!("{text}...") } else { text.into_owned() }
    }
}

/// A duration as Go prints it: `1m30s`, `1.5s`, `100ms`.
fn go(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let (seconds, rest) = (duration.as_secs(), duration.subsec_nanos());
    let decimal = |whole: u128, part: u128, digits: usize, unit: &str| match part {
        0 => format!("{whole}{unit}"),
        part => format!("{whole}.{}{unit}", format!("{part:0digits$}").trim_end_matches('0')),
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => decimal(nanos / 1_000, nanos % 1_000, 3, "µs"),
        1_000_000..1_000_000_000 => decimal(nanos / 1_000_000, nanos % 1_000_000, 6, "ms"),
        _ => {
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let last = decimal(u128::from(seconds % 60), u128::from(rest), 9, "s");
            match (hours, minutes) {
                (0, 0) => last,
                (0, minutes) => format!("{minutes}m{last}"),
                (hours, minutes) => format!("{hours}h{minutes}m{last}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_in_go() {
        for (millis, text) in [
            (0, "0s"),
            (1, "1ms"),
            (1_500, "1.5s"),
            (30_000, "30s"),
            (90_000, "1m30s"),
            (3_600_000, "1h0m0s"),
            (1_050, "1.05s"),
        ] {
            assert_eq!(go(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn output_is_cut() {
        let mut output = Output::default();
        output.keep(&[b'x'; KEPT]);
        assert_eq!(output.text().len(), KEPT);
        output.keep(b"y");
        assert_eq!(output.text().len(), KEPT + 3);
        assert!(output.text().ends_with("x..."));
    }

    #[tokio::test]
    async fn both_streams_are_read_in_order() {
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        let frames = b"\x01\0\0\0\0\0\0\x02hi\x02\0\0\0\0\0\0\x01!";
        tokio::io::AsyncWriteExt::write_all(&mut theirs, frames).await.unwrap();
        drop(theirs);
        let mut output = Output::default();
        output.read(ours).await;
        assert_eq!(output.text(), "hi!");
    }
}
