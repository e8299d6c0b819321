//! Makes a connection: addresses, TCP, TLS, and the handshake.

use super::cache::Cache;
use super::reply_limit::ReplyLimit;
use super::shared::Shared;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ErrorKind, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, RedisError,
    Value, cmd,
};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::sleep;
use wasi_http_host_core::unreadable;

/// How often TCP probes an idle connection, to find that a peer has vanished without closing it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long one address has to answer before the next one is tried beside it.
const STAGGER: Duration = Duration::from_millis(250);
/// Largest password file, in bytes.
const MAX_PASSWORD_BYTES: u64 = 4 << 10;

type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;
type Stream = Pin<Box<dyn Duplex>>;

trait Duplex: AsyncRead + AsyncWrite + Send {}
impl<S: AsyncRead + AsyncWrite + Send> Duplex for S {}

pub(super) struct Connected {
    pub(super) connection: MultiplexedConnection,
    /// Must be polled for as long as the connection is used.
    pub(super) driver: Driver,
    /// Why the server sends no invalidation messages; `None` when it does.
    pub(super) untracked: Option<String>,
}

/// What one attempt leaves for the next.
#[derive(Default)]
pub(super) struct Handshake {
    /// The server closed the connection after `HELLO 3`: it is a proxy that does not know RESP 3, or it was just stopping.
    connection_dropped: bool,
}

/// Connects. `attempt` is the number of attempts that have failed: each begins with another address, because an address may accept
/// connections and then be silent.
pub(super) async fn connect(
    shared: &Shared,
    cache: Option<&Arc<Cache>>,
    handshake: &mut Handshake,
    attempt: usize,
) -> Result<Connected, String> {
    let address = &shared.address;
    let mut addresses = match address.host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, address.port)],
        Err(_) => shared.resolver.resolve(&address.host, address.port).await.map_err(|e| e.to_string())?,
    };
    let first = attempt.checked_rem(addresses.len()).unwrap_or_default();
    addresses.rotate_left(first);
    let described = |error: RedisError| format!("{address}: {}", refusal(&error));
    let info = identity(shared).await?;
    let older = async || {
        let stream = stream(shared, &addresses).await?;
        hello(info.clone(), stream, None).await.map_err(described)
    };
    let Some(cache) = cache else {
        let (connection, driver) = older().await?;
        return Ok(Connected { connection, driver, untracked: None });
    };
    // A server that accepts RESP 2 and closes the connection at RESP 3 right after does not know RESP 3: it is not stopping.
    let spare = if std::mem::take(&mut handshake.connection_dropped) { Some(older().await?) } else { None };
    let newer = stream(shared, &addresses).await?;
    let invalidations = Invalidations { cache: cache.clone(), prefix: shared.config.prefix.clone() };
    let error = match hello(info.clone(), newer, Some(invalidations)).await {
        Ok((connection, mut driver)) => {
            let untracked = track(connection.clone(), &mut driver).await.map_err(described)?;
            return Ok(Connected { connection, driver, untracked });
        }
        Err(error) => error,
    };
    let untracked = if is_unknown(&error) {
        refusal(&error)
    } else if spare.is_some() && error.is_connection_dropped() {
        "it closes the connection at this request".to_owned()
    } else {
        handshake.connection_dropped = error.is_connection_dropped();
        return Err(described(error));
    };
    let (connection, driver) = match spare {
        Some(spare) => spare,
        None => older().await?,
    };
    Ok(Connected { connection, driver, untracked: Some(untracked) })
}

/// What the log may say of a handshake that failed. A server that does not know a command repeats its arguments in the error, the
/// password included.
fn refusal(error: &RedisError) -> String {
    match error.code() {
        Some(code) => format!("it replied {code}"),
        None if error.is_io_error() => error.to_string(),
        None => format!("{:?}", error.kind()),
    }
}

/// Whether the server does not know the command, or does not permit it to this user. Any other error may pass: that it is busy,
/// or has too many clients.
fn is_unknown(error: &RedisError) -> bool {
    match error.code() {
        Some("ERR") => !error.detail().is_some_and(|text| text.starts_with("max number of clients")),
        Some("NOPROTO" | "NOPERM") => true,
        _ => error.kind() == ErrorKind::RESP3NotSupported,
    }
}

/// Asks the server for invalidation messages for all keys that are read over this connection. Returns why not if the server does not
/// know how.
///
/// We use the default tracking mode on the connection that reads. With `BCAST`, or with a second connection for invalidation
/// messages, Redis may deliver an invalidation after the reply to a later command.
async fn track(
    mut connection: MultiplexedConnection,
    driver: &mut Driver,
) -> Result<Option<String>, RedisError> {
    let on = cmd("CLIENT").arg("TRACKING").arg("ON").take();
    let answer = tokio::select! {
        biased;
        answer = on.exec_async(&mut connection) => answer,
        () = driver => return Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
    };
    match answer {
        Ok(()) => Ok(None),
        Err(refused) if is_unknown(&refused) => Ok(Some(refusal(&refused))),
        Err(error) => Err(error),
    }
}

async fn identity(shared: &Shared) -> Result<RedisConnectionInfo, String> {
    let mut info = RedisConnectionInfo::default().set_db(shared.address.database);
    if let Some(user) = &shared.address.user {
        info = info.set_username(user);
    }
    Ok(match (&shared.config.password_file, shared.config.password()) {
        (Some(path), _) => {
            let failed = |error| {
                let reason = unreadable(path, "Redis's password", &error);
                format!("--redis-password-file: {}: {reason}", path.display())
            };
            let password = read(path).await.map_err(failed)?;
            info.set_password(password)
        }
        (None, Some(password)) => info.set_password(password),
        (None, None) => info,
    })
}

/// The handshake: in RESP 3 where there is a cache that takes invalidation messages.
async fn hello(
    info: RedisConnectionInfo,
    stream: Stream,
    invalidations: Option<Invalidations>,
) -> Result<(MultiplexedConnection, Driver), RedisError> {
    // `ThreadClient::call` has a limit for the whole of a call.
    let mut config = AsyncConnectionConfig::new().set_response_timeout(None);
    let mut info = info;
    if let Some(invalidations) = invalidations {
        info = info.set_protocol(ProtocolVersion::RESP3);
        config = config.set_push_sender(move |push: PushInfo| {
            invalidations.apply(&push);
            Ok::<_, std::convert::Infallible>(())
        });
    }
    let (connection, driver) =
        MultiplexedConnection::new_with_config(&info, ReplyLimit::new(stream), config).await?;
    Ok((connection, Box::pin(driver)))
}

/// Takes invalidation messages. The connection's driver calls it between replies, in the order in which Redis sent them.
struct Invalidations {
    cache: Arc<Cache>,
    prefix: String,
}

impl Invalidations {
    fn apply(&self, push: &PushInfo) {
        match (&push.kind, push.data.first()) {
            (PushKind::Invalidate, Some(Value::Array(keys))) => {
                for key in keys {
                    if let Value::BulkString(key) = key
                        && let Ok(key) = std::str::from_utf8(key)
                        && let Some(key) = key.strip_prefix(&*self.prefix)
                    {
                        self.cache.invalidate(Some(key));
                    }
                }
            }
            // A null means all keys: a client has emptied the database.
            (PushKind::Invalidate, _) => self.cache.invalidate(None),
            (PushKind::Disconnection, _) => self.cache.clear(),
            _ => {}
        }
    }
}

async fn stream(shared: &Shared, addresses: &[SocketAddr]) -> Result<Stream, String> {
    let address = &shared.address;
    let stream = tcp(addresses).await.map_err(|error| format!("{address}: {error}"))?;
    let Some(security) = &shared.security else { return Ok(Box::pin(stream)) };
    let stream = security.connect(&address.host, stream).await;
    Ok(Box::pin(stream.map_err(|error| format!("{address}: {error}"))?))
}

/// Connects to the first address that answers. Tries the next one when one has failed or is silent for [`STAGGER`].
async fn tcp(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut left = addresses.iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "no address");
    loop {
        match left.next() {
            Some(address) => attempts.push(TcpStream::connect(*address)),
            None if attempts.is_empty() => return Err(failure),
            None => {}
        }
        let others = left.len() > 0;
        tokio::select! {
            Some(attempt) = attempts.next() => match attempt {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE / 3);
                    SockRef::from(&stream).set_tcp_keepalive(&keep_alive)?;
                    return Ok(stream);
                }
                Err(error) => failure = error,
            },
            () = sleep(STAGGER), if others => {}
        }
    }
}

async fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = tokio::fs::File::open(path).await?;
    file.take(MAX_PASSWORD_BYTES).read_to_string(&mut text).await?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpSocket};
    use tokio::time::timeout;

    #[test]
    fn what_a_server_does_not_know_is_told_from_what_it_cannot_do_just_now() {
        let is_unknown = |answer: &str| {
            let value = redis::parse_redis_value(format!("-{answer}\r\n").as_bytes()).unwrap();
            is_unknown(&value.extract_error().unwrap_err())
        };
        for lasting in [
            "ERR unknown command 'HELLO', with args beginning with: '3'",
            "ERR unknown subcommand 'TRACKING'",
            "NOPROTO unsupported protocol version",
            "NOPERM this user has no permissions to run the 'client|tracking' command",
        ] {
            assert!(is_unknown(lasting), "{lasting}");
        }
        for passing in [
            "ERR max number of clients reached",
            "BUSY Redis is busy running a script",
            "LOADING Redis is loading the dataset in memory",
            "MASTERDOWN Link with MASTER is down",
            "NOAUTH Authentication required.",
            "WRONGPASS invalid username-password pair or user is disabled.",
        ] {
            assert!(!is_unknown(passing), "{passing}");
        }
    }

    #[tokio::test]
    async fn an_address_that_refuses_or_keeps_silent_does_not_keep_the_next_from_being_tried() {
        let alive = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refusing = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        // A queue of one that is full: the kernel lets further connections wait for ever.
        let silent = TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let silent = silent.listen(1).unwrap();
        let mut filling = Vec::new();
        while let Ok(Ok(stream)) = timeout(STAGGER, TcpStream::connect(silent.local_addr().unwrap())).await {
            filling.push(stream);
            assert!(filling.len() < 64, "the queue is never full");
        }
        let addresses = [refusing, silent.local_addr().unwrap(), alive.local_addr().unwrap()];
        let connected = timeout(Duration::from_secs(60), tcp(&addresses)).await.unwrap().unwrap();
        assert_eq!(connected.peer_addr().unwrap(), alive.local_addr().unwrap());
        assert!(tcp(&[refusing]).await.is_err());
        assert!(tcp(&[]).await.is_err());
    }
}
