//! A container's terminal follows the size of ours.

use std::{sync::Arc, time::Duration};

use skiff_client::{Client, Error, Query};
use tokio::signal::unix::{SignalKind, signal};

use super::terminal;

/// Whose terminal.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A container's.
    Container(String),
    /// An exec's.
    Exec(String),
}

impl Target {
    async fn resize(&self, client: &Client, (rows, columns): (u16, u16)) -> Result<(), Error> {
        if rows == 0 && columns == 0 {
            return Ok(());
        }
        match self {
            Self::Container(id) => {
                let query = Query::new().with("h", rows.to_string()).with("w", columns.to_string());
                client.container_action(id, "resize", query).await
            }
            Self::Exec(id) => client.exec_resize(id, rows, columns).await,
        }
    }
}

/// Sets the size now and whenever ours changes, in a task of its own.
pub(crate) fn follow(client: Arc<Client>, target: Target) {
    let Ok(mut changed) = signal(SignalKind::window_change()) else { return };
    tokio::spawn(async move {
        // The process may not quite be there yet.
        let mut tries = 0;
        while target.resize(&client, terminal::size()).await.is_err() {
            tries += 1;
            if tries > 10 {
                crate::say::error("failed to resize tty, using default size");
                break;
            }
            tokio::time::sleep(Duration::from_millis(10 * tries)).await;
        }
        while changed.recv().await.is_some() {
            let _ = target.resize(&client, terminal::size()).await;
        }
    });
}

/// Sets a size that is not ours, so that the next [`follow`] makes programs draw themselves anew.
pub(crate) async fn disturb(client: &Client, target: &Target) {
    let (rows, columns) = terminal::size();
    if (rows, columns) != (0, 0) {
        let _ = target.resize(client, (rows + 1, columns + 1)).await;
    }
}
