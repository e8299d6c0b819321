//! The yardstick: what a native axum service costs for work equal to the component's on a cached hit and on `/health`.
//!
//! Equal: routes, validation, the entry's shape, freshness and `Age`, every response header, the body to the byte,
//! the same counters and histogram, the allocator, and the threading of the host: one current-thread runtime a core,
//! connections dealt out in turn. Left out, since no measured request comes there: stale entries, single flight,
//! the rate-limit gate, redirects. `bench/run` compares the answers before it measures.

mod answer;
mod entry;
mod metrics;
mod request_id;
mod service;
mod threads;
mod upstream;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A native service that answers as `gists.wasm` does.
#[derive(Parser, Clone, Debug)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// GitHub, or the fake: `http://host:port`.
    #[arg(long, env = "GITHUB_API_URL")]
    github_api_url: http::Uri,
    /// Seconds that an entry is fresh.
    #[arg(long, env = "CACHE_TTL", default_value_t = 300)]
    cache_ttl: u64,
    /// Entries that are kept.
    #[arg(long, env = "CACHE_ENTRIES", default_value_t = 10_000)]
    cache_entries: u64,
    /// Runtimes, each on a thread of its own [default: one a core].
    #[arg(long)]
    threads: Option<NonZeroUsize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let service = service::Gists::new(arguments.github_api_url, arguments.cache_ttl, arguments.cache_entries);
    let count = arguments.threads.or_else(|| std::thread::available_parallelism().ok());
    match threads::serve(arguments.listen, count.map_or(1, NonZeroUsize::get), &service.router()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-native: {}: {error}", arguments.listen);
            ExitCode::FAILURE
        }
    }
}
