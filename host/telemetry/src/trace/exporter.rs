//! Sends spans in the background. The exporter runs on the runtime that also answers probes, never on a thread that
//! serves requests.

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

/// The pause after the first failed attempt of a batch.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Minimum time between two log lines about failures.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// Takes batches of spans from the [`Tracer`] and sends them to the collector.
pub(super) struct Exporter {
    tracer: Arc<Tracer>,
    transport: Transport,
    resource: Resource,
    /// Timeout of one batch, with all attempts and pauses.
    limit: Duration,
    /// Buffer for the next batch. Between batches the buffer is empty and keeps its capacity.
    batch: Vec<Span>,
    closing: watch::Receiver<bool>,
    reported: Option<Instant>,
    /// Number of spans lost since the last log line about failures.
    unreported: u64,
}

/// A handle to a running [`Exporter`].
pub struct Exporting {
    tracer: Arc<Tracer>,
    closing: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Starts a task on the current runtime, which sends the spans of `tracer` with `client`.
    pub(super) fn spawn(
        tracer: Arc<Tracer>,
        settings: Settings,
        client: Box<dyn CollectorClient>,
    ) -> Exporting {
        let (closing, closed) = watch::channel(false);
        let exporter = Self {
            tracer: tracer.clone(),
            resource: encode::resource(&settings.resource),
            limit: settings.batch.limit,
            batch: Vec::new(),
            transport: Transport::new(client, settings),
            closing: closed,
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
            // During shutdown, send no second batch if the collector did not accept the first.
            if *self.closing.borrow() && (!arrived || self.tracer.queue.len() == 0) {
                return;
            }
        }
    }

    /// Sends the next batch and retries within the batch's timeout. Returns whether the batch was delivered, or
    /// there was none.
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
                Err(_) => Err("the time limit is over".to_owned()),
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

/// The minimum pause before the next attempt.
struct Backoff(Duration);

impl Backoff {
    /// Returns the next pause: the minimum, which doubles each time, or the time that the collector asks for if that
    /// is longer. The minimum applies even if the collector asks for no pause.
    fn pause(&mut self, asked: Option<Duration>) -> Duration {
        let least = self.0;
        self.0 = least.saturating_mul(2);
        asked.unwrap_or_default().max(least)
    }
}

impl Failure {
    /// Returns the failure if a retry makes sense, otherwise its reason.
    fn reason_if_last(self, closing: &watch::Receiver<bool>) -> Result<Self, String> {
        if self.is_temporary && !*closing.borrow() { Ok(self) } else { Err(self.reason) }
    }
}

/// Resolves when the host shuts down and no more spans will come.
async fn closes(closing: &mut watch::Receiver<bool>) {
    // If the sender is dropped, the host shuts down.
    let _ = closing.wait_for(|closing| *closing).await;
}

impl Exporting {
    /// Sends the remaining spans, until `deadline` at the latest.
    pub async fn finish(self, deadline: Instant) {
        self.closing.send_replace(true);
        let ended = timeout_at(deadline, self.task).await;
        let left = self.tracer.queue.len();
        if ended.is_err() || left > 0 {
            tracing::warn!(spans = left, "the host stops before the last spans are sent");
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
