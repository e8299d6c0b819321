//! HTTP/1.1, in the clear or over TLS, to an address of the test's choice under a host name of the test's choice.

mod client;
mod message;
mod tls;

pub use client::{Client, Connection};
pub use message::{Request, Response};
pub use tls::Trust;
