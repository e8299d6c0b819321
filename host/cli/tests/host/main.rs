//! The host as its users meet it: the real program, started with small guests of our own, one file a behaviour.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that finds something else than it expects is to fail there"
)]

mod admin;
mod background;
mod chaining;
mod client;
mod code_cache;
mod command_line;
mod components;
mod forgery;
mod frames;
mod h2;
mod harness;
mod hostile;
mod http;
mod memory;
mod outbound;
mod output;
mod overload;
mod proxy;
mod redis;
mod redis_cache;
mod redis_cas;
mod redis_limits;
mod redis_server;
mod secrets;
mod serving;
mod settings;
mod shutdown;
mod smuggling;
mod time_limits;
mod tls;
mod traces;
mod traps;
mod watch;
