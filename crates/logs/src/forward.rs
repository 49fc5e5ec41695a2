//! Sends a spool to its receiver: at least once, in order, for as long as it takes.
//!
//! Nothing waits for this: the container writes to its spool, whoever reads the log reads it there. The cursor moves when the
//! receiver has a batch, so a daemon that is killed sends at most one batch a second time, and none too few. A receiver may hold lines
//! that others will be put together with; the cursor stays before those. What the spool's bound pushes out before it was sent is
//! counted.

use std::{fs::File, io, time::Duration};

use tokio::{net::unix::pipe, sync::watch};

use crate::{
    Receiver, Spool,
    remote::{Line, Rejected, SendError},
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

/// Sends what there is and what comes. Returns when the producer has ended and everything is sent; a change of the producer that was not
/// looked at by then is still one for the caller ([`watch::Receiver::has_changed`]).
///
/// # Errors
/// The spool cannot be read.
pub async fn forward(
    spool: &Spool,
    receiver: &mut Receiver,
    producer: &mut watch::Receiver<Producer>,
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
    // Behind the last batch; the receiver may hold lines of it.
    let mut behind: Option<Cursor> = None;
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
                refused += deliver(receiver, &lines, &told).await;
                if receiver.is_due() {
                    refused += deliver(receiver, &[], &told).await;
                }
                end.lost += refused;
                let before = behind.replace(end);
                done = match receiver.held().first() {
                    None => Some(end),
                    // The next daemon begins with a line that is held.
                    Some(first) => before.filter(|cursor| cursor.number < first.number),
                };
            }
            None if !receiver.held().is_empty() && (ended || receiver.is_due()) => {
                refused += deliver(receiver, &[], &told).await;
                done = behind.map(|cursor| Cursor { lost: lost + refused, ..cursor });
            }
            None if ended => {
                receiver.finish().await;
                return Ok(());
            }
            None => {
                let due = receiver.due();
                tokio::select! {
                    () = until(due) => {}
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

/// Tries until the receiver has the lines, or without any, those that it holds. Answers how many it refuses for good.
async fn deliver(receiver: &mut Receiver, lines: &[Line], told: &impl Fn(Progress)) -> u64 {
    let before = receiver.held().len() as u64;
    let lost = attempt(receiver, lines, told).await;
    let gone = before + lines.len() as u64 - receiver.held().len() as u64;
    let (lost, reason) = match lost {
        Ok(None) => (0, None),
        Ok(Some(Rejected { lines, reason })) => (lines.min(gone), Some(reason)),
        Err(reason) => (gone, Some(reason)),
    };
    if gone > lost {
        told(Progress::Sent(gone - lost));
    }
    if lost > 0 {
        told(Progress::Lost(lost, reason));
    }
    lost
}

async fn attempt(
    receiver: &mut Receiver,
    lines: &[Line],
    told: &impl Fn(Progress),
) -> Result<Option<Rejected>, String> {
    let mut wait = receiver.retry_wait().max(SHORTEST_WAIT);
    let mut failed = false;
    loop {
        let sent = match lines {
            [] => receiver.flush().await,
            lines => receiver.send(lines).await,
        };
        match sent {
            Ok(rejected) => {
                if failed {
                    told(Progress::Working);
                }
                return Ok(rejected);
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

async fn until(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests;
