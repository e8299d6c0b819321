//! Publishes task events to containerd over ttrpc (`containerd.services.events.ttrpc.v1`), in order.

use std::time::{Duration, SystemTime};

use containerd_shim_protos::{
    api::ForwardRequest,
    events::task::{
        TaskCreate, TaskDelete, TaskExecAdded, TaskExecStarted, TaskExit, TaskOOM, TaskPaused, TaskResumed,
        TaskStart,
    },
    protobuf::MessageFull,
    shim::event::Envelope,
    shim_async::{Client, EventsClient},
    topics,
    ttrpc::{r#async::transport::Socket, context},
};
use tokio::{
    net::UnixStream,
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout},
};

use crate::{
    error::{Error, Result},
    message,
};

/// Events in the queue; further events are dropped. The queue fills only while containerd is down for long. After its
/// restart, containerd asks for the states of all tasks.
const QUEUE_MAX: usize = 1024;
/// Time for containerd to take one event.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Time in which delivery of one event is retried, for a restart of containerd. After that, the event is dropped.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// Time to deliver the queued events, when the shim shuts down or an event must come before an exit.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// A message that can be published.
pub(crate) trait Event: MessageFull {
    /// containerd's topic for the message.
    const TOPIC: &str;
}

macro_rules! topics {
    ($($event:ty => $topic:ident,)*) => {
        $(impl Event for $event {
            const TOPIC: &str = topics::$topic;
        })*
    };
}

topics! {
    TaskCreate => TASK_CREATE_EVENT_TOPIC,
    TaskStart => TASK_START_EVENT_TOPIC,
    TaskOOM => TASK_OOM_EVENT_TOPIC,
    TaskExit => TASK_EXIT_EVENT_TOPIC,
    TaskDelete => TASK_DELETE_EVENT_TOPIC,
    TaskExecAdded => TASK_EXEC_ADDED_EVENT_TOPIC,
    TaskExecStarted => TASK_EXEC_STARTED_EVENT_TOPIC,
    TaskPaused => TASK_PAUSED_EVENT_TOPIC,
    TaskResumed => TASK_RESUMED_EVENT_TOPIC,
}

enum QueueItem {
    Event(Box<Envelope>),
    Flush(oneshot::Sender<()>),
}

/// The queue of events for containerd.
pub(crate) struct Events {
    namespace: String,
    sender: mpsc::Sender<QueueItem>,
}

impl Events {
    /// Starts the task that delivers events. `address` is containerd's ttrpc socket.
    pub(crate) fn new(namespace: &str, address: String) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(deliver(address, receiver));
        Self { namespace: namespace.to_owned(), sender }
    }

    /// Queues `event`. Events are delivered in the order of these calls. If the queue is full, the event is dropped and
    /// logged.
    pub(crate) fn publish<E: Event>(&self, event: &E) {
        match self.envelope(event).map(|envelope| self.sender.try_send(QueueItem::Event(Box::new(envelope))))
        {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                log::warn!("event {} dropped: {QUEUE_MAX} events already wait for containerd", E::TOPIC);
            }
            Err(error) => log::warn!("event {} dropped: {error}", E::TOPIC),
        }
    }

    /// Waits until all queued events are delivered or dropped, for at most [`FLUSH_TIMEOUT`]. Returns whether they are.
    pub(crate) async fn delivered(&self) -> bool {
        let (done, flushed) = oneshot::channel();
        let flush = async {
            // Both fail only if the task that delivers events has ended.
            let _ = self.sender.send(QueueItem::Flush(done)).await;
            let _ = flushed.await;
        };
        timeout(FLUSH_TIMEOUT, flush).await.is_ok()
    }

    /// Delivers the queued events when the shim shuts down.
    pub(crate) async fn flush(&self) {
        if !self.delivered().await {
            log::warn!("shutdown: events not delivered within {} s are dropped", FLUSH_TIMEOUT.as_secs());
        }
    }

    fn envelope<E: Event>(&self, event: &E) -> Result<Envelope> {
        let mut envelope = Envelope::new();
        envelope.set_topic(E::TOPIC.to_owned());
        envelope.set_namespace(self.namespace.clone());
        envelope.set_timestamp(message::timestamp(SystemTime::now()));
        envelope.set_event(message::any(event)?);
        Ok(envelope)
    }
}

async fn deliver(address: String, mut items: mpsc::Receiver<QueueItem>) {
    let mut client = None;
    while let Some(item) = items.recv().await {
        match item {
            QueueItem::Event(envelope) => forward(&address, &mut client, *envelope).await,
            // The receiver may have been dropped after its timeout.
            QueueItem::Flush(done) => drop(done.send(())),
        }
    }
}

/// Sends one event. Retries for [`RETRY_TIMEOUT`] while containerd does not take the event.
async fn forward(address: &str, client: &mut Option<EventsClient>, envelope: Envelope) {
    let started = Instant::now();
    let topic = envelope.topic.clone();
    let mut request = ForwardRequest::new();
    request.set_envelope(envelope);
    loop {
        let sent = async {
            let connected = match client.take() {
                Some(connected) => connected,
                None => EventsClient::new(connect(address).await?),
            };
            connected
                .forward(context::with_duration(CALL_TIMEOUT), &request)
                .await
                .map_err(|error| Error::Other(error.to_string()))?;
            Ok::<_, Error>(connected)
        };
        match sent.await {
            Ok(connected) => {
                *client = Some(connected);
                return;
            }
            Err(error) if started.elapsed() > RETRY_TIMEOUT => {
                log::warn!("event {topic} dropped after {} s: {error}", RETRY_TIMEOUT.as_secs());
                return;
            }
            Err(_) => sleep(RETRY_PAUSE).await,
        }
    }
}

async fn connect(address: &str) -> Result<Client> {
    let path = address.strip_prefix("unix://").unwrap_or(address);
    let stream = UnixStream::connect(path).await.map_err(|error| Error::Other(format!("{path}: {error}")))?;
    Ok(Client::new(Socket::from(stream)))
}
