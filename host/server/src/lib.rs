//! The main listener, and the threads that serve its connections with HTTP/1.1, HTTP/2 and TLS.

mod ask;
mod buffers;
mod cached;
mod client;
mod config;
mod connection;
mod exchange;
mod interim;
mod io;
mod limits;
mod listener;
mod metrics;
mod protocol;
mod refusal;
mod request;
mod resets;
mod response;
mod serve;
mod shared;
mod span;
mod stream;
mod streams;
mod thread;
mod tls;
mod worker;

pub use ask::ask;
pub use config::{ForwardedBy, ServerConfig};
pub use listener::{Listener, bind};
pub use metrics::ConnectionMetrics;
pub use shared::Shared;
pub use thread::start;
pub use tls::{ClientAuth, Tls, TlsConfig, TlsStats};
pub use worker::{Next, Worker, WorkerError};
