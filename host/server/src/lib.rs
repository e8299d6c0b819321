//! The main listener, and the threads that serve its connections: HTTP/1.1, HTTP/2, TLS.

mod config;
mod connection;
mod exchange;
mod io;
mod listener;
mod metrics;
mod protocol;
mod refusal;
mod request;
mod response;
mod shared;
mod span;
mod stream;
mod streams;
mod tls;
mod worker;

pub use config::ServerConfig;
pub use exchange::ask;
pub use listener::{Listener, bind};
pub use metrics::ConnectionMetrics;
pub use shared::Shared;
pub use tls::{Tls, TlsConfig};
pub use worker::{Next, Worker, WorkerError};
