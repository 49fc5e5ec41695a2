//! Standard input, read by a thread: it may be a file, a pipe or a terminal, and must never be made non-blocking,
//! because others share it.

use std::io::Read;

use tokio::sync::mpsc::{Receiver, channel};

/// Starts reading standard input; the channel ends when it ends. The thread dies with the process.
pub(super) fn start() -> Receiver<Vec<u8>> {
    let (send, receive) = channel(4);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(n) if send.blocking_send(buffer[..n].to_vec()).is_err() => return,
                Ok(_) => {}
            }
        }
    });
    receive
}
