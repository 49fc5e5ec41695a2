//! Sends a spool to its receiver: at least once, in order, for as long as it takes.
//!
//! Nothing waits for this: the container writes to its spool, whoever reads the log reads it there. The cursor moves when the
//! receiver has a batch, so a daemon that is killed sends at most one batch a second time, and none too few. What the spool's bound
//! pushes out before it was sent is counted.

use std::{fs::File, io, time::Duration};

use tokio::{net::unix::pipe, sync::watch};

use crate::{
    Receiver, Spool,
    remote::SendError,
    spool::{Batch, Cursor, SpoolReader},
};

/// Whether more will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Producer {
    /// The container runs.
    Writes,
    /// It does not.
    Ended,
}

/// What happens on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The receiver has so many more lines.
    Sent(u64),
    /// So many more lines will never be sent: they are gone, or the receiver refused them (then it is told why).
    Lost(u64, Option<String>),
    /// Nothing gets through, for this reason. Told once for every try.
    Failing(String),
    /// It gets through again.
    Working,
}

/// The longest time between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The shortest.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// Sends what there is and what comes. Returns when the producer has ended and everything is sent.
///
/// # Errors
/// The spool cannot be read.
pub async fn forward(
    spool: &Spool,
    receiver: &mut Receiver,
    mut producer: watch::Receiver<Producer>,
    told: impl Fn(Progress),
) -> io::Result<()> {
    let opened = {
        let spool = spool.clone();
        blocking(move || spool.reader()).await?
    };
    let wakeup = pipe::Receiver::from_file_unchecked(File::from(opened.wakeup().try_clone_to_owned()?))?;
    let mut lost = opened.lost();
    let mut reader = Some(opened);
    let mut refused = 0;
    let mut done = None;
    loop {
        let ended = *producer.borrow_and_update() == Producer::Ended;
        let Some(taken) = reader.take() else { return Ok(()) };
        let (back, batch) = step(spool.clone(), taken, done.take()).await?;
        reader = Some(back);
        match batch {
            Some(Batch { lines, mut end }) => {
                if end.lost > lost {
                    told(Progress::Lost(end.lost - lost, None));
                    lost = end.lost;
                }
                let count = lines.len() as u64;
                match deliver(receiver, &lines, &told).await {
                    Ok(()) => told(Progress::Sent(count)),
                    Err(reason) => {
                        refused += count;
                        told(Progress::Lost(count, Some(reason)));
                    }
                }
                end.lost += refused;
                done = Some(end);
            }
            None if ended => {
                receiver.finish().await;
                return Ok(());
            }
            None => {
                tokio::select! {
                    ready = wakeup.readable() => {
                        ready?;
                        // The reader looks at the files. This clears tokio's memory of an event.
                        let _ = wakeup.try_read(&mut [0; 4096]);
                    }
                    changed = producer.changed() => if changed.is_err() { return Ok(()) },
                }
            }
        }
    }
}

/// Saves the cursor of the last batch and reads the next one.
async fn step(
    spool: Spool,
    mut reader: SpoolReader,
    done: Option<Cursor>,
) -> io::Result<(SpoolReader, Option<Batch>)> {
    blocking(move || {
        if let Some(cursor) = done {
            spool.save(&cursor)?;
        }
        let batch = reader.next_batch()?;
        Ok((reader, batch))
    })
    .await
}

/// Tries until the receiver has the lines.
///
/// # Errors
/// It refuses them for good.
async fn deliver(
    receiver: &mut Receiver,
    lines: &[crate::remote::Line],
    told: &impl Fn(Progress),
) -> Result<(), String> {
    let mut wait = receiver.retry_wait().max(SHORTEST_WAIT);
    let mut failed = false;
    loop {
        match receiver.send(lines).await {
            Ok(()) => {
                if failed {
                    told(Progress::Working);
                }
                return Ok(());
            }
            Err(e @ SendError::Refused { .. }) => return Err(e.to_string()),
            Err(e) => {
                failed = true;
                told(Progress::Failing(e.to_string()));
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests;
