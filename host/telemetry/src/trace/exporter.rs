//! Sends spans behind the requests' backs: on the runtime that also answers probes, never on a thread that serves.

use std::{sync::Arc, time::Duration};

use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

use super::{
    CollectorClient, Settings, Span, Tracer, encode,
    transport::{Failure, Transport},
};

/// The first pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// A collector that is away is reported no more often.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// Takes spans from the [`Tracer`], and sends them.
pub(super) struct Exporter {
    tracer: Arc<Tracer>,
    transport: Transport,
    resource: Resource,
    /// For a batch, all of it at once.
    limit: Duration,
    /// What is to be sent next: empty but for its room.
    batch: Vec<Span>,
    closing: watch::Receiver<bool>,
    reported: Option<Instant>,
    /// Spans that were lost since.
    unreported: u64,
}

/// An [`Exporter`] at work.
pub struct Exporting {
    tracer: Arc<Tracer>,
    closing: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Sends from now on what `tracer` keeps, with `client`. To be called on the runtime that is to do so.
    pub(super) fn spawn(
        tracer: Arc<Tracer>,
        settings: Settings,
        client: Box<dyn CollectorClient>,
    ) -> Exporting {
        let (closing, told) = watch::channel(false);
        let exporter = Self {
            tracer: tracer.clone(),
            resource: encode::resource(&settings.resource),
            limit: settings.batch.limit,
            batch: Vec::new(),
            transport: Transport::new(client, settings),
            closing: told,
            reported: None,
            unreported: 0,
        };
        Exporting { tracer, closing, task: tokio::spawn(exporter.run()) }
    }

    async fn run(mut self) {
        loop {
            tokio::select! {
                () = self.tracer.queue.due() => {}
                () = closes(&mut self.closing) => {}
            }
            let arrived = self.send().await;
            // At the end a collector that does not answer gets no second batch.
            if *self.closing.borrow() && (!arrived || self.tracer.queue.len() == 0) {
                return;
            }
        }
    }

    /// Sends the next batch, again and again within its limit. Whether it arrived, or there was none.
    async fn send(&mut self) -> bool {
        self.tracer.queue.take(&mut self.batch);
        let count = self.batch.len() as u64;
        if count == 0 {
            return true;
        }
        let message = self.transport.message(&encode::request(&self.resource, self.batch.drain(..)));
        let limit = Instant::now() + self.limit;
        let mut backoff = Backoff(FIRST_PAUSE);
        let failure = loop {
            let sent = timeout_at(limit, self.transport.send(message.clone())).await;
            let failure = match sent {
                Ok(Ok(rejected)) => {
                    let rejected = rejected.min(count);
                    self.tracer.counts.exported.inc_by(count - rejected);
                    self.tracer.counts.rejected.inc_by(rejected);
                    return true;
                }
                Ok(Err(failure)) => failure.reason_if_last(&self.closing),
                Err(_) => Err("the time for it is over".to_owned()),
            };
            match failure {
                Err(reason) => break reason,
                Ok(Failure { reason, pause: asked, .. }) => {
                    let wait = backoff.pause(asked);
                    if Instant::now() + wait >= limit {
                        break reason;
                    }
                    let _ = timeout(wait, closes(&mut self.closing)).await;
                }
            }
        };
        self.tracer.counts.failed.inc_by(count);
        self.report(&failure, count);
        false
    }

    fn report(&mut self, reason: &str, count: u64) {
        self.unreported += count;
        let now = Instant::now();
        if self.reported.is_none_or(|last| now.duration_since(last) >= REPORT_EVERY) {
            tracing::warn!(spans = self.unreported, reason, "spans were not sent to the collector");
            self.reported = Some(now);
            self.unreported = 0;
        }
    }
}

/// The least pause before the next attempt.
struct Backoff(Duration);

impl Backoff {
    /// How long to wait now: twice as long each time, and longer where the collector asks for it. That it asks for no pause
    /// at all does not make it be asked without one.
    fn pause(&mut self, asked: Option<Duration>) -> Duration {
        let least = self.0;
        self.0 = least.saturating_mul(2);
        asked.unwrap_or_default().max(least)
    }
}

impl Failure {
    /// The failure if it is worth another attempt, else why there is none.
    fn reason_if_last(self, closing: &watch::Receiver<bool>) -> Result<Self, String> {
        if self.is_temporary && !*closing.borrow() { Ok(self) } else { Err(self.reason) }
    }
}

/// Resolves when no more spans will come.
async fn closes(closing: &mut watch::Receiver<bool>) {
    // A sender that is gone will not come back.
    let _ = closing.wait_for(|closing| *closing).await;
}

impl Exporting {
    /// Sends what is left, until `deadline` at the latest.
    pub async fn finish(self, deadline: Instant) {
        self.closing.send_replace(true);
        let ended = timeout_at(deadline, self.task).await;
        let left = self.tracer.queue.len();
        if ended.is_err() || left > 0 {
            tracing::warn!(spans = left, "the host ends before the last spans are sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_is_longer_whatever_the_collector_asks_for() {
        let mut backoff = Backoff(FIRST_PAUSE);
        let seconds = [Some(0), None, Some(10), Some(0), None];
        let pauses = seconds.map(|asked| backoff.pause(asked.map(Duration::from_secs)).as_secs());
        assert_eq!(pauses, [1, 2, 10, 8, 16]);
    }
}
