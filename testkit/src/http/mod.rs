//! HTTP clients for tests.
//!
//! - [`Request`] and [`Response`], and one incremental decoder for HTTP/1.1 responses.
//! - [`Connection`]: HTTP/1.1 over any asynchronous stream, TCP or TLS. A test may write any bytes.
//! - [`blocking`]: the same for tests without a runtime.
//! - [`http2`]: HTTP/2 by hyper.

pub mod blocking;
mod connection;
mod decoder;
pub mod http2;
mod request;
mod response;

pub use connection::{Connection, Stream, raw};
pub use request::{BoundRequest, Request};
pub use response::Response;
