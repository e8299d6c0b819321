//! How a connection is made: addresses, TCP, TLS, and what is said first.

use super::cache::Cache;
use super::guard::Guard;
use super::{Password, Shared};
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

/// An idle connection is probed so often, so that a peer that has gone without a word is known.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// An address that is silent for so long is no longer waited for alone.
const STAGGER: Duration = Duration::from_millis(250);
/// Largest password file, in bytes.
const MAX_PASSWORD_BYTES: u64 = 4 << 10;

type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;
type Stream = Pin<Box<dyn Duplex>>;

trait Duplex: AsyncRead + AsyncWrite + Send {}
impl<S: AsyncRead + AsyncWrite + Send> Duplex for S {}

pub(super) struct Connected {
    pub(super) connection: MultiplexedConnection,
    /// To be polled for as long as the connection is used.
    pub(super) driver: Driver,
    /// Why the server does not say what changes.
    pub(super) untracked: Option<String>,
}

/// What is remembered from one attempt to the next.
#[derive(Default)]
pub(super) struct Greeting {
    /// The server hung up when it was greeted in the newer protocol: a proxy that does not know it, or one that was going
    /// down just then.
    hung_up: bool,
}

/// `attempt` says how many have failed: an address that takes connections and is silent then is not tried first
/// again and again.
pub(super) async fn connect(
    shared: &Shared,
    cache: Option<&Arc<Cache>>,
    greeting: &mut Greeting,
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
        greet(info.clone(), stream, None).await.map_err(described)
    };
    let Some(cache) = cache else {
        let (connection, driver) = older().await?;
        return Ok(Connected { connection, driver, untracked: None });
    };
    // Who takes the older protocol and hangs up at the newer one right behind it does not know it: it was not going down.
    let spare = if std::mem::take(&mut greeting.hung_up) { Some(older().await?) } else { None };
    let newer = stream(shared, &addresses).await?;
    let told = Told { cache: cache.clone(), prefix: shared.settings.prefix.clone() };
    let error = match greet(info.clone(), newer, Some(told)).await {
        Ok((connection, mut driver)) => {
            let untracked = track(connection.clone(), &mut driver).await.map_err(described)?;
            return Ok(Connected { connection, driver, untracked });
        }
        Err(error) => error,
    };
    let untracked = if is_unknown(&error) {
        refusal(&error)
    } else if spare.is_some() && error.is_connection_dropped() {
        "it closes the connection when it is asked to".to_owned()
    } else {
        greeting.hung_up = error.is_connection_dropped();
        return Err(described(error));
    };
    let (connection, driver) = match spare {
        Some(spare) => spare,
        None => older().await?,
    };
    Ok(Connected { connection, driver, untracked: Some(untracked) })
}

/// What may be said of a greeting that failed: a server that does not know one of its commands repeats what came with
/// it, the password included.
fn refusal(error: &RedisError) -> String {
    match error.code() {
        Some(code) => format!("it answered {code}"),
        None if error.is_io_error() => error.to_string(),
        None => format!("{:?}", error.kind()),
    }
}

/// Whether the server does not know what it was asked for, or not for us. Anything else that it says, as that it is busy or
/// has no place for us, is of this moment.
fn is_unknown(error: &RedisError) -> bool {
    match error.code() {
        Some("ERR") => !error.detail().is_some_and(|text| text.starts_with("max number of clients")),
        Some("NOPROTO" | "NOPERM") => true,
        _ => error.kind() == ErrorKind::RESP3NotSupported,
    }
}

/// Asks the server to say what changes of all that is read over this connection from now on. What it answers if it
/// does not know how; an error when it could not say, or the connection broke.
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
    Ok(match &shared.settings.password {
        Password::None => info,
        Password::Text(password) => info.set_password(password),
        Password::File(path) => {
            let password = read(path).await.map_err(|error| format!("{}: {error}", path.display()))?;
            info.set_password(password)
        }
    })
}

/// In the newer protocol where there is a cache to be told what changes.
async fn greet(
    info: RedisConnectionInfo,
    stream: Stream,
    told: Option<Told>,
) -> Result<(MultiplexedConnection, Driver), RedisError> {
    // The limits are ours, and hold for the whole of a call.
    let mut config = AsyncConnectionConfig::new().set_response_timeout(None);
    let mut info = info;
    if let Some(told) = told {
        info = info.set_protocol(ProtocolVersion::RESP3);
        config = config.set_push_sender(move |push: PushInfo| {
            told.apply(&push);
            Ok::<_, std::convert::Infallible>(())
        });
    }
    let (connection, driver) =
        MultiplexedConnection::new_with_config(&info, Guard::new(stream), config).await?;
    Ok((connection, Box::pin(driver)))
}

/// Who is told what changes: by the connection's driver, between the answers and in their order.
struct Told {
    cache: Arc<Cache>,
    prefix: String,
}

impl Told {
    fn apply(&self, push: &PushInfo) {
        match (&push.kind, push.data.first()) {
            (PushKind::Invalidate, Some(Value::Array(keys))) => {
                for key in keys {
                    if let Value::BulkString(key) = key
                        && let Ok(key) = std::str::from_utf8(key)
                        && let Some(key) = key.strip_prefix(&*self.prefix)
                    {
                        self.cache.changed(Some(key));
                    }
                }
            }
            // All of them: somebody has emptied the database.
            (PushKind::Invalidate, _) => self.cache.changed(None),
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

/// The first address that answers. The next is tried once one has failed, or has kept silent for a while.
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
