//! A real Redis server for one test (Debian: `redis-server`).

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::{FromRedisValue, RedisResult};

use crate::ports;
use crate::wait::{DEADLINE, eventually_within};

/// The pause between two looks whether the server answers.
const LOOK: Duration = Duration::from_millis(10);

/// A running server without persistence. Dropping it kills the process and waits for its end.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    address: SocketAddr,
    password: Option<String>,
}

impl RedisServer {
    /// Starts a server with the defaults.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a server with these arguments of `redis-server`.
    #[must_use]
    pub fn with(arguments: &[&str]) -> Self {
        Self::start_at(ports::reserve(), arguments)
    }

    /// Starts a server at this address, for example where another one was.
    #[must_use]
    pub fn start_at(address: SocketAddr, arguments: &[&str]) -> Self {
        let child = Command::new("redis-server")
            .args(["--save", "", "--appendonly", "no", "--bind", &address.ip().to_string()])
            .args(["--port", &address.port().to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts (apt-get install redis-server)");
        let mut words = arguments.iter().skip_while(|argument| **argument != "--requirepass");
        let password = words.nth(1).map(|password| (*password).to_owned());
        let mut server = Self { child, address, password };
        eventually_within(DEADLINE, LOOK, "redis-server answers", || {
            if let Ok(Some(status)) = server.child.try_wait() {
                ended(address, status);
            }
            server.query::<String>(&["PING"]).map(drop).map_err(|error| error.to_string())
        });
        server
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Executes a command. Panics unless it succeeds with a text or a number.
    pub fn command(&self, words: &[&str]) -> String {
        self.query(words).unwrap_or_else(|error| failed(words, &error))
    }

    /// Executes a command.
    ///
    /// # Errors
    /// If the server does not answer within [`DEADLINE`], refuses, or answers by another type.
    pub fn query<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        command(words).query(&mut self.connection()?)
    }

    /// How often the server has executed this command, in lower case.
    #[must_use]
    pub fn calls(&self, command: &str) -> u64 {
        let statistics = self.command(&["INFO", "commandstats"]);
        let prefix = format!("cmdstat_{command}:calls=");
        let line = statistics.lines().find_map(|line| line.strip_prefix(&prefix));
        line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
    }

    /// Executes commands as one transaction (`MULTI`, `EXEC`).
    pub fn transaction(&self, commands: &[&[&str]]) {
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for words in commands {
            pipeline.add_command(command(words)).ignore();
        }
        let executed = self.connection().and_then(|mut connection| pipeline.query::<()>(&mut connection));
        executed.expect("the transaction succeeds");
    }

    fn connection(&self) -> RedisResult<redis::Connection> {
        let password = self.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        redis::Client::open(format!("redis://{password}{}", self.address))?
            .get_connection_with_timeout(DEADLINE)
    }
}

fn command(words: &[&str]) -> redis::Cmd {
    let (first, rest) = words.split_first().expect("a command has a name");
    let mut command = redis::cmd(first);
    command.arg(rest);
    command
}

#[expect(clippy::panic, reason = "how a test reports it")]
fn failed(words: &[&str], error: &redis::RedisError) -> ! {
    panic!("redis: {words:?}: {error}")
}

#[expect(clippy::panic, reason = "how a test reports it")]
fn ended(address: SocketAddr, status: std::process::ExitStatus) -> ! {
    panic!("redis-server at {address} ended at once: {status}")
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // An error says that the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
