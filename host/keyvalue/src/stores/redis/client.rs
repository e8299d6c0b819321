//! What one thread calls a store by: commands over the connection that the supervisor keeps up, within limits.

use super::cache::{Cache, PendingRead};
use super::commands::{Command, Request};
use super::shared::Shared;
use super::stats::Failure;
use super::supervisor::{Report, State, Supervisor};
use crate::Error;
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{RedisResult, RetryMethod, Value};
use std::fmt::Display;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

pub(super) struct ThreadClient {
    shared: Arc<Shared>,
    /// `None` where the configuration gives the cache no bytes.
    cache: Option<Arc<Cache>>,
    state: watch::Receiver<State>,
    reports: mpsc::Sender<Report>,
    permits: Semaphore,
    supervisor: AbortHandle,
}

impl ThreadClient {
    /// Starts a task on `runtime` that connects, and connects again for as long as this client lives.
    pub(super) fn start(shared: Arc<Shared>, runtime: &Handle) -> Self {
        let (config, cache_bytes) = (&shared.config, shared.thread_cache_bytes);
        let cache = (cache_bytes > 0).then(|| Arc::new(Cache::new(cache_bytes, config.cache_max_age.get())));
        if let Some(cache) = &cache {
            shared.stats.caches.add(cache.clone());
        }
        let (publish, state) = watch::channel(State::Connecting);
        let (reports, reported) = mpsc::channel(1);
        let supervisor = Supervisor::new(shared.clone(), cache.clone(), publish, reported);
        let supervisor = runtime.spawn(supervisor.run()).abort_handle();
        let permits = Semaphore::new(shared.config.max_concurrency.get().min(Semaphore::MAX_PERMITS));
        Self { shared, cache, state, reports, permits, supervisor }
    }

    /// What this thread has cached of the store.
    pub(super) fn cache(&self) -> Option<&Cache> {
        self.cache.as_deref()
    }

    /// Registers a read whose reply may be cached: see [`Cache::begin_read`].
    pub(super) fn begin_read(&self, key: &str) -> Option<PendingRead> {
        self.cache.as_ref()?.begin_read(key)
    }

    /// Sends a command and reads the reply, within the limits.
    pub(super) async fn call<R>(&self, command: Command<R>) -> Result<R, Error> {
        let Ok(_permit) = self.permits.try_acquire() else {
            return Err(self.failed(Failure::Overload, "too many commands wait for a reply"));
        };
        let limit = self.shared.config.timeout.get();
        let deadline = Instant::now() + limit;
        let (connection, generation) = self.connection(deadline).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        let _in_flight = self.shared.stats.sent();
        let answer = timeout_at(deadline, send(connection, command.request)).await;
        let Ok(answer) = answer else {
            // A call that waited long for the connection has given the server too little time to tell that it is silent.
            if left >= limit / 2 {
                self.report(generation, format!("no reply within {limit:?}"));
            }
            return Err(self.failed(Failure::Timeout, format_args!("no reply within {limit:?}")));
        };
        answer.and_then(Value::extract_error).and_then(command.read).map_err(|error| {
            if error.is_io_error() {
                return self.failed(Failure::Broken, error);
            }
            // For example a replica after a failover: the name may resolve to another server by now.
            if matches!(
                error.retry_method(),
                RetryMethod::Reconnect | RetryMethod::ReconnectFromInitialConnections
            ) {
                self.report(generation, error.to_string());
            }
            self.failed(Failure::Refused, error)
        })
    }

    /// A connection that is up. Waits for an attempt that is under way, but not after an attempt has just failed.
    async fn connection(&self, deadline: Instant) -> Result<(MultiplexedConnection, u64), Error> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| !matches!(state, State::Connecting));
        match timeout_at(deadline, settled).await {
            Ok(Ok(state)) => match &*state {
                State::Up(connection, generation) => Ok((connection.clone(), *generation)),
                State::Down(reason) => Err(self.failed(Failure::Unreachable, reason)),
                State::Connecting => Err(self.failed(Failure::Unreachable, "not connected yet")),
            },
            Ok(Err(_)) => Err(self.failed(Failure::Unreachable, "the host is stopping")),
            Err(_) => Err(self.failed(Failure::Unreachable, "not connected yet")),
        }
    }

    fn report(&self, generation: u64, reason: String) {
        // The channel has room for one: a report that waits there is about this connection, too.
        let _ = self.reports.try_send(Report { generation, reason });
    }

    fn failed(&self, failure: Failure, why: impl Display) -> Error {
        self.shared.stats.fail(failure);
        Error::other(format_args!("store {:?}: {why}", self.shared.name))
    }
}

impl Drop for ThreadClient {
    fn drop(&mut self) {
        self.supervisor.abort();
        if let Some(cache) = &self.cache {
            self.shared.stats.caches.remove(cache);
        }
    }
}

async fn send(mut connection: MultiplexedConnection, request: Request) -> RedisResult<Value> {
    match request {
        Request::One(command) => connection.req_packed_command(&command).await,
        Request::Many(commands) => commands.query_async(&mut connection).await,
        Request::Script(script, arguments) => {
            let mut arguments = arguments.into_iter();
            let mut call = script.prepare_invoke();
            call.key(arguments.next());
            for argument in arguments {
                call.arg(argument);
            }
            call.invoke_async(&mut connection).await
        }
    }
}
