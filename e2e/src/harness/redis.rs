//! A real Redis server, for hosts that share a store.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// A running server; dropping it kills the process.
pub struct Redis {
    child: Child,
    address: SocketAddr,
}

impl Redis {
    /// Starts one on a port that was free a moment ago.
    ///
    /// # Panics
    /// When there is none to start (Debian: `redis-server`), or it does not answer.
    #[must_use]
    #[expect(clippy::panic, reason = "a test that has no Redis cannot go on")]
    pub fn start() -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        Self::start_at(free.unwrap_or_else(|error| panic!("no free port: {error}")))
    }

    /// Starts one there: where another has been, say.
    ///
    /// # Panics
    /// As [`Redis::start`].
    #[must_use]
    #[expect(clippy::panic, reason = "a test that has no Redis cannot go on")]
    pub fn start_at(address: SocketAddr) -> Self {
        let child = Command::new("redis-server")
            .args(["--save", "", "--appendonly", "no", "--bind"])
            .arg(address.ip().to_string())
            .args(["--port", &address.port().to_string()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("redis-server: {error}: apt-get install redis-server"));
        let redis = Self { child, address };
        let deadline = Instant::now() + PATIENCE;
        while !redis.answers() {
            assert!(Instant::now() < deadline, "redis-server does not answer at {address}");
            std::thread::sleep(Duration::from_millis(10));
        }
        redis
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often it has carried this command out.
    ///
    /// # Panics
    /// When it does not say.
    #[must_use]
    #[expect(clippy::panic, reason = "a test that cannot ask its Redis cannot go on")]
    pub fn calls(&self, command: &str) -> u64 {
        let asked = TcpStream::connect(self.address).and_then(|mut stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(b"INFO commandstats\r\nQUIT\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        });
        let answer = asked.unwrap_or_else(|error| panic!("redis-server: {error}"));
        let line = answer.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Redis's answer to a command whose words need no quoting, up to the first line's end or, where that tells a length,
    /// so many bytes further.
    ///
    /// # Errors
    /// When it does not answer within [`PATIENCE`], or refuses.
    pub fn command(&self, words: &str) -> io::Result<String> {
        let mut stream = BufReader::new(TcpStream::connect(self.address)?);
        stream.get_ref().set_read_timeout(Some(PATIENCE))?;
        stream.get_ref().write_all(format!("{words}\r\n").as_bytes())?;
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let line = line.trim_end();
        if let Some(refused) = line.strip_prefix('-') {
            return Err(io::Error::other(format!("{words}: {refused}")));
        }
        let Some(Ok(length)) = line.strip_prefix('$').map(str::parse) else { return Ok(line.to_owned()) };
        let mut text = vec![0; length];
        stream.read_exact(&mut text)?;
        String::from_utf8(text).map_err(io::Error::other)
    }

    fn answers(&self) -> bool {
        let mut answer = [0; 5];
        let asked = TcpStream::connect(self.address).and_then(|mut stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(b"PING\r\n")?;
            stream.read_exact(&mut answer)
        });
        asked.is_ok() && answer == *b"+PONG"
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Ended already, maybe.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
