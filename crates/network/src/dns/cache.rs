//! What name servers have answered a container lately. Bounded in entries and bytes; nothing outlives its records' lifetimes.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{
    query::Query,
    response::{self, Response},
};

/// More answers than a container's programs ask for in a while.
const MOST_ENTRIES: usize = 256;
/// Bytes of answers, at most.
const MOST_BYTES: usize = 128 << 10;
/// Longer answers are asked for again.
const LONGEST: usize = 4 << 10;

/// The answers kept for one container. An empty one takes no memory of its own.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: HashMap<Box<[u8]>, Entry>,
    bytes: usize,
    /// The state of the servers' list that the answers come from.
    generation: u64,
}

#[derive(Debug)]
struct Entry {
    message: Box<[u8]>,
    lifetimes: Box<[u16]>,
    stored: Instant,
    ends: Instant,
}

impl Cache {
    /// The answer to a query, as if it had just come, if there is one.
    pub(super) fn get(&mut self, query: &Query<'_>, generation: u64, now: Instant) -> Option<Vec<u8>> {
        if self.generation != generation {
            *self = Self { generation, ..Self::default() };
        }
        let entry = self.entries.get(&key(query)?)?;
        if entry.ends <= now {
            return None;
        }
        let mut message = entry.message.to_vec();
        let age = now.saturating_duration_since(entry.stored).as_secs();
        response::age(&mut message, &entry.lifetimes, u32::try_from(age).unwrap_or(u32::MAX));
        response::address(&mut message, query.id, &query.question);
        Some(message)
    }

    /// Keeps the answer to a query for as long as it says, if it may be kept.
    pub(super) fn put(
        &mut self,
        query: &Query<'_>,
        generation: u64,
        message: &[u8],
        response: &Response,
        now: Instant,
    ) {
        if response.lifetime == 0 || message.len() > LONGEST || generation != self.generation {
            return;
        }
        let Some(key) = key(query) else { return };
        let entry = Entry {
            message: message.into(),
            lifetimes: response.lifetimes.as_slice().into(),
            stored: now,
            ends: now + Duration::from_secs(response.lifetime.into()),
        };
        self.bytes += size(&key, &entry);
        if let Some(old) = self.entries.remove(&key) {
            self.bytes -= size(&key, &old);
        }
        self.entries.insert(key, entry);
        self.make_room(now);
    }

    /// Drops what has ended and, if there is still too much, what ends first.
    fn make_room(&mut self, now: Instant) {
        let fits = |cache: &Self| cache.entries.len() <= MOST_ENTRIES && cache.bytes <= MOST_BYTES;
        if fits(self) {
            return;
        }
        self.entries.retain(|_, entry| entry.ends > now);
        self.bytes = self.entries.iter().map(|(key, entry)| size(key, entry)).sum();
        while !fits(self) {
            let Some(first) = self.entries.iter().min_by_key(|(_, e)| e.ends).map(|(key, _)| key.clone())
            else {
                return;
            };
            if let Some(entry) = self.entries.remove(&first) {
                self.bytes -= size(&first, &entry);
            }
        }
    }
}

/// What the answer depends on; nothing if that is more than can be told.
fn key(query: &Query<'_>) -> Option<Box<[u8]>> {
    if query.has_options() {
        return None;
    }
    let mut key = query.question.wire.to_vec();
    let name = query.question.name.wire().len();
    key[..name].make_ascii_lowercase();
    key.extend_from_slice(&query.wishes().to_be_bytes());
    Some(key.into())
}

fn size(key: &[u8], entry: &Entry) -> usize {
    key.len() + entry.message.len() + 2 * entry.lifetimes.len() + size_of::<Entry>()
}
