//! Wait: answered the instant the end is known and attached clients have all of the output.

use std::{collections::VecDeque, future::ready, sync::Mutex, time::Duration};

use skiff_types::ContainerId;
use tokio::time::timeout;

use super::{WaitCondition, WaitOutcome, Waiting, parts::Parts};
use crate::{Error, Result, container::Phase};

/// A client that does not read its output makes others wait no longer than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many ends are remembered.
const REMEMBERED: usize = 256;

/// How containers ended that were removed when they did (`--rm`). A client that starts one and asks for its end may be
/// slower than a short-lived container.
#[derive(Default)]
pub(crate) struct Departed(Mutex<VecDeque<(ContainerId, WaitOutcome)>>);

impl Departed {
    pub(super) fn remember(&self, id: ContainerId, outcome: WaitOutcome) {
        let mut ends = self.0.lock().expect("no panic under this lock");
        if ends.len() == REMEMBERED {
            ends.pop_front();
        }
        ends.push_back((id, outcome));
    }

    /// By the full id, which is what a client has from `create`.
    fn outcome(&self, reference: &str) -> Option<WaitOutcome> {
        let id: ContainerId = reference.parse().ok()?;
        let ends = self.0.lock().expect("no panic under this lock");
        ends.iter().find(|(ended, _)| *ended == id).map(|(_, outcome)| outcome.clone())
    }
}

pub(super) fn wait(parts: &Parts, reference: &str, condition: WaitCondition) -> Result<Waiting> {
    let container = match parts.registry.resolve(reference) {
        Ok(container) => container,
        Err(missing) => {
            let outcome = parts.departed.outcome(reference).ok_or(missing)?;
            return Ok(Waiting(Box::pin(ready(Ok(outcome)))));
        }
    };
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
        if !container.is_awaited() {
            let listening = |phase: &Phase| match condition {
                // Who asks so may read the answer before output that came first, on another connection.
                WaitCondition::NotRunning => phase.behind,
                WaitCondition::NextExit | WaitCondition::Removed => phase.lacking,
            };
            let _ = timeout(PATIENCE, watch.wait_for(|phase| phase.running || listening(phase) == 0)).await;
        }
        drop(container);
        outcome.map_err(|_| Error::Internal("the engine is shutting down".into()))
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_ends_are_remembered() {
        let departed = Departed::default();
        let id = |n: usize| format!("{n:064x}");
        for n in 0..=REMEMBERED {
            let outcome = WaitOutcome { exit_code: n as i64, error: None };
            departed.remember(id(n).parse().unwrap(), outcome);
        }
        assert!(departed.outcome(&id(0)).is_none());
        assert_eq!(departed.outcome(&id(REMEMBERED)).unwrap().exit_code, REMEMBERED as i64);
        assert!(departed.outcome(&id(1)[..12]).is_none());
    }
}
