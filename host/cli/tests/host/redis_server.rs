//! A real Redis, and something between it and the host that keeps answers back.

use std::{
    net::{SocketAddr, TcpListener as StdListener},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::harness::DEADLINE;

pub(crate) struct Server {
    child: Child,
    address: String,
    password: Option<String>,
}

impl Server {
    /// A server on a port that was free a moment ago, with these arguments besides.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_at(Self::free_port(), arguments)
    }

    pub(crate) fn free_port() -> u16 {
        StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    pub(crate) fn start_at(port: u16, arguments: &[&str]) -> Self {
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"])
            .arg(port.to_string())
            .args(arguments)
            .stdout(Stdio::null())
            .spawn()
            .expect("these tests need a Redis server: apt-get install redis-server");
        let password = arguments.iter().position(|argument| *argument == "--requirepass");
        let password = password.map(|at| arguments[at + 1].to_owned());
        let server = Self { child, address: format!("127.0.0.1:{port}"), password };
        let deadline = Instant::now() + DEADLINE;
        while server.try_command(&["PING"]).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not answer at {}", server.address);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        server
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.parse::<SocketAddr>().unwrap().port()
    }

    /// What it answers, as text.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        self.try_command(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// How often it has carried this command out.
    pub(crate) fn calls(&self, command: &str) -> u64 {
        let text = self.command(&["INFO", "commandstats"]);
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }

    /// One after the other, and nothing else between.
    pub(crate) fn transaction(&self, commands: &[&[&str]]) {
        let mut all = redis::pipe();
        all.atomic();
        for words in commands {
            let (first, rest) = words.split_first().unwrap();
            all.cmd(first).arg(rest).ignore();
        }
        all.query::<()>(&mut self.connection().unwrap()).unwrap();
    }

    fn connection(&self) -> redis::RedisResult<redis::Connection> {
        let password = self.password.as_ref().map(|text| format!(":{text}@")).unwrap_or_default();
        let client = redis::Client::open(format!("redis://{password}{}", self.address))?;
        client.get_connection_with_timeout(DEADLINE)
    }

    fn try_command(&self, words: &[&str]) -> redis::RedisResult<String> {
        let (first, rest) = words.split_first().unwrap();
        redis::cmd(first).arg(rest).query(&mut self.connection()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already, maybe.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Passes everything on, but answers only once so many `GET`s have been asked, on all connections together.
pub(crate) struct Holding {
    address: String,
    seen: Arc<Seen>,
}

struct Seen {
    gets: AtomicUsize,
    open_at: AtomicUsize,
    changed: watch::Sender<()>,
}

impl Seen {
    fn is_held(&self) -> bool {
        let gets = self.gets.load(Ordering::SeqCst);
        // Before the first there are only greetings.
        gets > 0 && gets < self.open_at.load(Ordering::SeqCst)
    }
}

impl Holding {
    pub(crate) async fn before(server: &str, gets: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Seen {
            gets: AtomicUsize::new(0),
            open_at: AtomicUsize::new(gets),
            changed: watch::channel(()).0,
        });
        let (server, shared) = (server.to_owned(), seen.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(pass(client, server, shared.clone()));
            }
        });
        Self { address, seen }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// From now on answers pass.
    pub(crate) fn release(&self) {
        self.seen.open_at.store(0, Ordering::SeqCst);
        self.seen.changed.send_replace(());
    }
}

async fn pass(client: TcpStream, server: TcpStream, seen: Arc<Seen>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = seen.clone();
    let there = async move {
        let (mut buffer, mut tail) = (vec![0; 64 << 10], Vec::new());
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            const GET: &[u8] = b"\r\nGET\r\n";
            tail.extend_from_slice(&buffer[..length]);
            let gets = tail.windows(GET.len()).filter(|window| *window == GET).count();
            // A command may be cut in two.
            tail.drain(..tail.len().saturating_sub(GET.len() - 1));
            asking.gets.fetch_add(gets, Ordering::SeqCst);
            asking.changed.send_replace(());
            if to_server.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    let back = async move {
        let (mut buffer, mut changed) = (vec![0; 64 << 10], seen.changed.subscribe());
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            while seen.is_held() {
                changed.changed().await.unwrap();
            }
            if to_client.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

/// Passes everything on, but hangs up when it hears of the newer protocol, so often: for ever as proxies do that do not know
/// it, once as whoever is going down just then.
pub(crate) async fn hanging_up_at_hello(server: &str, times: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (server, left) = (server.to_owned(), Arc::new(AtomicUsize::new(times)));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(&server).await.unwrap();
            let left = left.clone();
            tokio::spawn(async move {
                let mut first = vec![0; 4 << 10];
                let length = client.read(&mut first).await.unwrap_or_default();
                let first = &first[..length];
                let hears = first.windows(5).any(|word| word == b"HELLO");
                let one_less = |left: usize| left.checked_sub(1);
                if hears && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
                    return;
                }
                if server.write_all(first).await.is_ok() {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    address
}
