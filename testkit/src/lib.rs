//! What the tests of this repository share.
//!
//! - [`HostOptions`] and [`Host`]: the host as a process, with its log and its two addresses. Dropping a [`Host`] ends the process.
//! - [`http`]: a client for HTTP/1.1 that shows each byte, over TCP or TLS, in an asynchronous and a blocking form; one for HTTP/2.
//! - [`RedisServer`]: a real Redis server for one test.
//! - [`otlp`]: a collector of traces.
//! - [`tls`]: certificates for one test, and clients that trust them.
//! - [`wait`]: bounded waiting for a condition.
//! - [`ports`]: addresses to listen on, and addresses that refuse connections.
//! - [`paths`]: where programs, guests and scratch files are.
//!
//! The testkit serves tests alone. Where a test cannot go on, the testkit panics and says why.
//!
//! The testkit does not depend on the host's library: it starts programs. A test that needs the library depends on it itself.

pub mod host;
pub mod http;
pub mod limits;
pub mod log;
pub mod metrics;
pub mod otlp;
pub mod paths;
pub mod ports;
pub mod redis_server;
pub mod tls;
pub mod wait;

pub use host::{Host, HostOptions, HostProcess};
pub use log::{Log, LogLine, LogReading};
pub use metrics::{Sample, Samples};
pub use redis_server::RedisServer;
pub use wait::{DEADLINE, until};
