//! The host as a program: each test starts it with a small guest of our own. One file for each subject.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that finds something else than it expects is to fail there"
)]

mod admin;
mod background;
mod cache_conformance;
mod chaining;
mod client_certificates;
mod clients;
mod code_cache;
mod command_line;
mod components;
mod file_store;
mod forgery;
mod frames;
mod h2;
mod harness;
mod hostile;
mod http;
mod interim;
mod leaving;
mod memory;
mod neighbours;
mod outbound;
mod outbound_certificates;
mod output;
mod overload;
mod probe;
mod proxy;
mod redis;
mod redis_cache;
mod redis_cas;
mod redis_limits;
mod redis_proxies;
mod response_cache;
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
