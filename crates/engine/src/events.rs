//! What happened: the last 256 events, and those to come.

use crate::{
    Result,
    model::{Event, Filters, Timestamp},
};

/// The service.
#[derive(Clone)]
pub struct Events {}

/// Events from the past asked for, then those that come.
pub struct EventStream {}

impl EventStream {
    /// The next event; none at the `until` moment. Safe to drop at any time.
    pub async fn next(&mut self) -> Option<Event> {
        None
    }
}

#[expect(unused_variables, reason = "signatures first")]
impl Events {
    /// Listens from now on. With `since`, first what is remembered from then on; with `until`, the stream ends then.
    ///
    /// # Errors
    /// Values of filters that mean nothing.
    pub fn subscribe(
        &self,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
        filters: Filters,
    ) -> Result<EventStream> {
        Ok(EventStream {})
    }
}
