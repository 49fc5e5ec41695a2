//! Wait: answered the instant the end is known.

use super::{WaitCondition, Waiting, parts::Parts};
use crate::{Error, Result};

pub(super) fn wait(parts: &Parts, reference: &str, condition: WaitCondition) -> Result<Waiting> {
    let container = parts.registry.resolve(reference)?;
    let mut watch = container.watch();
    let seen = watch.borrow_and_update().ends;
    Ok(Waiting(Box::pin(async move {
        let reached = watch
            .wait_for(|phase| match condition {
                WaitCondition::NotRunning => !phase.running || phase.removed,
                WaitCondition::NextExit => phase.ends > seen || phase.removed,
                WaitCondition::Removed => phase.removed,
            })
            .await;
        // The container is held here, so its phase cannot close.
        let outcome = reached.map(|phase| phase.last.clone());
        drop(container);
        outcome.map_err(|_| Error::Internal("the engine is shutting down".into()))
    })))
}
