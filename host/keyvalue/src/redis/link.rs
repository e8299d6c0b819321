//! One thread's way to a store: commands over the connection that its keeper keeps, within limits.

use super::super::Error;
use super::Shared;
use super::cache::{Cache, Read};
use super::commands::{Command, What};
use super::keeper::{Keeper, Report, State};
use super::stats::Failure;
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{RedisResult, RetryMethod, Value};
use std::fmt::Display;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

pub(super) struct Link {
    shared: Arc<Shared>,
    /// None where the settings give it no room.
    cache: Option<Arc<Cache>>,
    state: watch::Receiver<State>,
    reports: mpsc::Sender<Report>,
    places: Semaphore,
    keeper: AbortHandle,
}

impl Link {
    /// Connects, and reconnects for as long as this lives, in a task on `runtime`.
    pub(super) fn start(shared: Arc<Shared>, runtime: &Handle) -> Self {
        let settings = &shared.settings;
        let cache = (settings.cache_bytes > 0)
            .then(|| Arc::new(Cache::new(settings.cache_bytes, settings.cache_max_age)));
        if let Some(cache) = &cache {
            shared.stats.caches.add(cache.clone());
        }
        let (publish, state) = watch::channel(State::Connecting);
        let (reports, reported) = mpsc::channel(1);
        let keeper = Keeper::new(shared.clone(), cache.clone(), publish, reported);
        let keeper = runtime.spawn(keeper.run()).abort_handle();
        let places = Semaphore::new(shared.settings.max_in_flight.min(Semaphore::MAX_PERMITS));
        Self { shared, cache, state, reports, places, keeper }
    }

    /// What this thread remembers of the store.
    pub(super) fn cache(&self) -> Option<&Cache> {
        self.cache.as_deref()
    }

    /// A read begins whose answer may be remembered.
    pub(super) fn begin(&self, key: &str) -> Option<Read> {
        self.cache.as_ref()?.begin(key)
    }

    /// Says something to Redis and reads the answer, within the limits.
    pub(super) async fn call<R>(&self, command: Command<R>) -> Result<R, Error> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(self.failed(Failure::Overload, "too many commands wait for their answers"));
        };
        let limit = self.shared.settings.answer;
        let deadline = Instant::now() + limit;
        let (connection, generation) = self.connection(deadline).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        let _in_flight = self.shared.stats.sent();
        let answer = timeout_at(deadline, say(connection, command.what)).await;
        let Ok(answer) = answer else {
            // Who waited long for the connection knows too little of it to end it.
            if left >= limit / 2 {
                self.report(generation, format!("no answer within {limit:?}"));
            }
            return Err(self.failed(Failure::Timeout, format_args!("no answer within {limit:?}")));
        };
        answer.and_then(Value::extract_error).and_then(command.read).map_err(|error| {
            if error.is_io_error() {
                return self.failed(Failure::Broken, error);
            }
            // A replica after a failover, say: the name may lead elsewhere by now.
            if matches!(
                error.retry_method(),
                RetryMethod::Reconnect | RetryMethod::ReconnectFromInitialConnections
            ) {
                self.report(generation, error.to_string());
            }
            self.failed(Failure::Refused, error)
        })
    }

    /// A connection that is up. One that is being made is waited for, but none that has just failed.
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
        // One report is enough, and where one waits already it is about this connection.
        let _ = self.reports.try_send(Report { generation, reason });
    }

    fn failed(&self, failure: Failure, why: impl Display) -> Error {
        self.shared.stats.fail(failure);
        Error::other(format_args!("store {:?}: {why}", self.shared.name))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
        if let Some(cache) = &self.cache {
            self.shared.stats.caches.remove(cache);
        }
    }
}

async fn say(mut connection: MultiplexedConnection, what: What) -> RedisResult<Value> {
    match what {
        What::One(command) => connection.req_packed_command(&command).await,
        What::Many(commands) => commands.query_async(&mut connection).await,
        What::Script(script, arguments) => {
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
