//! One thread's connection, and the task that keeps it.

use super::super::Error;
use super::commands::{Command, What};
use super::stats::Failure;
use super::{Password, Shared};
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError, RedisResult, RetryMethod, Value};
use socket2::{SockRef, TcpKeepalive};
use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The pauses between attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A connection that lived longer was a good one: the next is tried at once.
const STABLE: Duration = Duration::from_secs(1);
/// An idle connection is probed so often, so that a peer that has gone without a word is known.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Largest password file, in bytes.
const MAX_PASSWORD_BYTES: u64 = 4 << 10;

#[derive(Clone)]
enum State {
    /// The first attempt, or the first after a loss: it is worth waiting for.
    Connecting,
    Up(MultiplexedConnection, u64),
    /// The last attempt failed, for this reason.
    Down(Arc<str>),
}

/// A connection did not do: which, and why.
struct Report {
    generation: u64,
    reason: String,
}

pub(super) struct Link {
    shared: Arc<Shared>,
    state: watch::Receiver<State>,
    reports: mpsc::Sender<Report>,
    places: Semaphore,
    keeper: AbortHandle,
}

impl Link {
    /// Connects, and reconnects for as long as this lives, in a task on `runtime`.
    pub(super) fn start(shared: Arc<Shared>, runtime: &Handle) -> Self {
        let (publish, state) = watch::channel(State::Connecting);
        let (reports, reported) = mpsc::channel(1);
        let keeper = Keeper { shared: shared.clone(), publish, reported, generation: 0 };
        let keeper = runtime.spawn(keeper.run()).abort_handle();
        let places = Semaphore::new(shared.settings.max_in_flight.min(Semaphore::MAX_PERMITS));
        Self { shared, state, reports, places, keeper }
    }

    /// Says something to Redis and reads the answer, within the limits.
    pub(super) async fn call<R>(&self, command: Command<R>) -> Result<R, Error> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(self.failed(Failure::Overload, "too many commands wait for their answers"));
        };
        let deadline = Instant::now() + self.shared.settings.answer;
        let (connection, generation) = self.connection(deadline).await?;
        let _in_flight = self.shared.stats.sent();
        let answer = timeout_at(deadline, say(connection, command.what)).await;
        let Ok(answer) = answer else {
            let limit = self.shared.settings.answer;
            self.report(generation, format!("no answer within {limit:?}"));
            return Err(self.failed(Failure::Timeout, format_args!("no answer within {limit:?}")));
        };
        answer.and_then(command.read).map_err(|error| {
            if error.is_io_error() || error.is_unrecoverable_error() {
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

struct Keeper {
    shared: Arc<Shared>,
    publish: watch::Sender<State>,
    reported: mpsc::Receiver<Report>,
    generation: u64,
}

impl Keeper {
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let limit = self.shared.settings.connect;
            let attempt = timeout(limit, connect(&self.shared)).await;
            let attempt = attempt.unwrap_or_else(|_| Err(format!("no connection within {limit:?}")));
            let reason = match attempt {
                Ok((connection, driver)) => {
                    let since = Instant::now();
                    let reason = self.drive(connection, driver).await;
                    if since.elapsed() > STABLE {
                        pause = FIRST_PAUSE;
                        self.publish.send_replace(State::Connecting);
                        continue;
                    }
                    reason
                }
                Err(reason) => {
                    self.shared.stats.not_connected();
                    reason
                }
            };
            self.down(reason);
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Until the connection breaks, and says why.
    async fn drive(&mut self, connection: MultiplexedConnection, driver: impl Future<Output = ()>) -> String {
        self.generation += 1;
        let generation = self.generation;
        let stats = self.shared.stats.clone();
        let _up = stats.connected();
        tracing::info!(store = self.shared.name, address = %self.shared.address, "connected to the key-value store");
        self.publish.send_replace(State::Up(connection, generation));
        let report = async {
            loop {
                match self.reported.recv().await {
                    Some(report) if report.generation == generation => return report.reason,
                    Some(_) => {}
                    None => std::future::pending().await,
                }
            }
        };
        let reason = tokio::select! {
            () = driver => "it closed the connection".to_owned(),
            reason = report => reason,
        };
        tracing::warn!(store = self.shared.name, reason, "lost the connection to the key-value store");
        reason
    }

    /// Says it once, not at each attempt.
    fn down(&self, reason: String) {
        let known = matches!(&*self.publish.borrow(), State::Down(known) if **known == *reason);
        if !known {
            tracing::warn!(
                store = self.shared.name,
                address = %self.shared.address,
                reason,
                "the key-value store cannot be reached: components go on without it, or fail"
            );
            self.publish.send_replace(State::Down(reason.into()));
        }
    }
}

type Connected = (MultiplexedConnection, std::pin::Pin<Box<dyn Future<Output = ()> + Send>>);

async fn connect(shared: &Shared) -> Result<Connected, String> {
    let address = &shared.address;
    let addresses = match address.host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, address.port)],
        Err(_) => shared.resolver.resolve(&address.host, address.port).await.map_err(|e| e.to_string())?,
    };
    let stream = tcp(&addresses).await.map_err(|error| format!("{address}: {error}"))?;
    let mut info = RedisConnectionInfo::default().set_db(address.database);
    if let Some(user) = &address.user {
        info = info.set_username(user);
    }
    match &shared.settings.password {
        Password::None => {}
        Password::Text(password) => info = info.set_password(password),
        Password::File(path) => {
            let password = read(path).await.map_err(|error| format!("{}: {error}", path.display()))?;
            info = info.set_password(password);
        }
    }
    // The limits are ours, and hold for the whole of a call.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let connected = MultiplexedConnection::new_with_config(&info, stream, config).await;
    let (connection, driver) = connected.map_err(|error: RedisError| format!("{address}: {error}"))?;
    Ok((connection, Box::pin(driver)))
}

async fn tcp(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE / 3);
                SockRef::from(&stream).set_tcp_keepalive(&keep_alive)?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn read(path: &std::path::Path) -> io::Result<String> {
    use tokio::io::AsyncReadExt as _;
    let mut text = String::new();
    let file = tokio::fs::File::open(path).await?;
    file.take(MAX_PASSWORD_BYTES).read_to_string(&mut text).await?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
