//! Signals that this program receives, passed on to a container.

use std::{sync::Arc, task::Poll};

use skiff_client::{Client, Query};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that are passed on: all that can be caught, but for those about children and pipes, and those of
/// this program's own making.
const NAMES: [(i32, &str); 22] = [
    (1, "HUP"),
    (2, "INT"),
    (3, "QUIT"),
    (5, "TRAP"),
    (6, "ABRT"),
    (10, "USR1"),
    (12, "USR2"),
    (14, "ALRM"),
    (15, "TERM"),
    (16, "STKFLT"),
    (18, "CONT"),
    (20, "TSTP"),
    (21, "TTIN"),
    (22, "TTOU"),
    (24, "XCPU"),
    (25, "XFSZ"),
    (26, "VTALRM"),
    (27, "PROF"),
    (28, "WINCH"),
    (29, "IO"),
    (30, "PWR"),
    (31, "SYS"),
];

/// How many signals that mean the end make this program end although the container goes on.
const ENOUGH: u32 = 3;

/// Passes signals on to container `id` from now on, in a task of its own.
pub(crate) fn forward(client: Arc<Client>, id: String) {
    catch(move |name| {
        let (client, id) = (Arc::clone(&client), id.clone());
        async move {
            // It may have ended just now.
            let _ = client.container_action(&id, "kill", Query::new().with("signal", name)).await;
        }
    });
}

/// Keeps signals that mean the end from ending this program before the container has ended (`--sig-proxy=false`).
pub(crate) fn outlast() {
    catch(|_| std::future::ready(()));
}

/// Hands the name of each signal to `act`, one after another. The third interrupt or termination ends the program.
fn catch<F: Future<Output = ()> + Send>(act: impl Fn(&'static str) -> F + Send + 'static) {
    let mut caught: Vec<(Signal, &'static str)> = NAMES
        .iter()
        .filter_map(|(number, name)| Some((signal(SignalKind::from_raw(*number)).ok()?, *name)))
        .collect();
    tokio::spawn(async move {
        let mut endings = 0;
        loop {
            let name = std::future::poll_fn(|cx| {
                let hit = caught.iter_mut().find_map(|(signal, name)| {
                    matches!(signal.poll_recv(cx), Poll::Ready(Some(()))).then_some(*name)
                });
                hit.map_or(Poll::Pending, Poll::Ready)
            })
            .await;
            endings += u32::from(matches!(name, "INT" | "TERM"));
            if endings == ENOUGH {
                super::terminal::restore();
                crate::say::error("\ngot 3 SIGTERM/SIGINTs, forcefully exiting");
                std::process::exit(1);
            }
            act(name).await;
        }
    });
}
