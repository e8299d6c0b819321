//! What happened, told to containerd in order.

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

/// Events that may wait. More than that means that containerd has been away for long, and it asks for states when it
/// comes back.
const WAITING_MAX: usize = 1024;
/// For containerd to take one event.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// For containerd to come back from a restart before an event is dropped.
const AWAY_LIMIT: Duration = Duration::from_secs(30);
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// For the last events when the shim ends.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);

/// What can be published.
pub(crate) trait Event: MessageFull {
    /// Where containerd files it.
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

enum Item {
    Event(Box<Envelope>),
    Flush(oneshot::Sender<()>),
}

/// Where events are published.
pub(crate) struct Events {
    namespace: String,
    sender: mpsc::Sender<Item>,
}

impl Events {
    /// Events for the containerd at `address`, its ttrpc socket.
    pub(crate) fn new(namespace: &str, address: String) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        tokio::spawn(deliver(address, receiver));
        Self { namespace: namespace.to_owned(), sender }
    }

    /// Queues `event`, behind those before it.
    pub(crate) fn publish<E: Event>(&self, event: &E) {
        match self.envelope(event).map(|envelope| self.sender.try_send(Item::Event(Box::new(envelope)))) {
            Ok(Ok(())) => {}
            Ok(Err(_)) => log::warn!("{}: dropped, as too many events wait for containerd", E::TOPIC),
            Err(error) => log::warn!("{}: {error}", E::TOPIC),
        }
    }

    /// Waits, for a while, until all that was published is delivered.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.sender.send(Item::Flush(done)).await.is_ok() && timeout(FLUSH_LIMIT, flushed).await.is_err() {
            log::warn!("events were left when the shim ended");
        }
    }

    fn envelope<E: Event>(&self, event: &E) -> Result<Envelope> {
        let mut envelope = Envelope::new();
        envelope.set_topic(E::TOPIC.to_owned());
        envelope.set_namespace(self.namespace.clone());
        envelope.set_timestamp(message::stamp(SystemTime::now()));
        envelope.set_event(message::any(event)?);
        Ok(envelope)
    }
}

async fn deliver(address: String, mut items: mpsc::Receiver<Item>) {
    let mut client = None;
    while let Some(item) = items.recv().await {
        match item {
            Item::Event(envelope) => forward(&address, &mut client, *envelope).await,
            // A receiver that has gone no longer waits.
            Item::Flush(done) => drop(done.send(())),
        }
    }
}

/// Tries until containerd has taken the event, or was away for too long.
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
                .forward(context::with_duration(CALL_LIMIT), &request)
                .await
                .map_err(|error| Error::Other(error.to_string()))?;
            Ok::<_, Error>(connected)
        };
        match sent.await {
            Ok(connected) => {
                *client = Some(connected);
                return;
            }
            Err(error) if started.elapsed() > AWAY_LIMIT => {
                log::warn!("{topic}: not delivered: {error}");
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
