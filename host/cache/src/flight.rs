//! A request to the component that others may wait for (request collapsing, RFC 9111, 4).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

/// How long a follower waits for the body once the head is there. The leader's client may read slowly.
const BODY_PATIENCE: Duration = Duration::from_millis(500);

/// How far the leader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The component has not answered.
    Begun,
    /// The head has arrived, and the response may be stored when its body is complete.
    Head,
    /// The response is stored.
    Stored,
    /// The response cannot be stored.
    NotStored,
    /// The leader's client has left.
    Abandoned,
}

/// A request to the component that others wait for.
#[derive(Debug)]
pub struct Flight {
    phase: watch::Sender<Phase>,
    /// Whether a follower has waited in vain for the body. Then nobody else begins to wait.
    is_slow: AtomicBool,
}

/// What a follower does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// Looks up the store again, and joins a flight or leads one.
    #[default]
    First,
    /// The same, after the leader's response was stored.
    Again,
    /// Asks the component, and waits for no other request.
    Alone,
}

impl Flight {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { phase: watch::Sender::new(Phase::Begun), is_slow: AtomicBool::new(false) })
    }

    pub(crate) fn set(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    pub(crate) fn is_slow(&self) -> bool {
        self.is_slow.load(Relaxed)
    }

    /// Waits for the leader's response, or until the leader cannot help.
    pub async fn settled(&self) -> Turn {
        let mut phase = self.phase.subscribe();
        // The sender is `self`, so it exists.
        let _ = phase.wait_for(|phase| *phase != Phase::Begun).await;
        let ended = phase.wait_for(|phase| *phase != Phase::Head);
        let phase = match timeout(BODY_PATIENCE, ended).await {
            Ok(Ok(phase)) => *phase,
            Ok(Err(_)) => Phase::NotStored,
            Err(_) => {
                self.is_slow.store(true, Relaxed);
                Phase::Head
            }
        };
        match phase {
            Phase::Stored => Turn::Again,
            Phase::Abandoned => Turn::First,
            Phase::Begun | Phase::Head | Phase::NotStored => Turn::Alone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn followers_wait_for_the_end_and_not_for_a_slow_client() {
        for (phases, turn) in [
            (&[Phase::Stored][..], Turn::Again),
            (&[Phase::Head, Phase::Stored], Turn::Again),
            (&[Phase::NotStored], Turn::Alone),
            (&[Phase::Head, Phase::NotStored], Turn::Alone),
            (&[Phase::Abandoned], Turn::First),
            (&[Phase::Head], Turn::Alone),
        ] {
            let flight = Flight::new();
            let follower = tokio::spawn({
                let flight = flight.clone();
                async move { flight.settled().await }
            });
            for phase in phases {
                tokio::task::yield_now().await;
                assert!(!follower.is_finished());
                flight.set(*phase);
            }
            assert_eq!(follower.await.unwrap(), turn, "{phases:?}");
        }
    }
}
