//! A native axum service that does the same work as the component for a cached page and for `/health`. The benchmark compares with it.
//!
//! The same as in the component: routes, validation, the cache entry, freshness and `Age`, all response headers, each byte of the body,
//! counters and histogram. The same as in the host: the allocator, and one current-thread runtime a core, with connections distributed
//! round-robin. Left out, because no measured request needs them: stale entries, singleflight, the rate-limit gate, redirects. `bench/run`
//! compares the responses before it measures.

#[path = "../../../host/cli/src/allocator.rs"]
mod allocator;
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
static ALLOCATOR: allocator::Mimalloc = allocator::Mimalloc;

/// Serves the same responses as `gists.wasm`, natively.
#[derive(Parser, Clone, Debug)]
struct Arguments {
    /// Address to listen on; with port 0, the system chooses a free port
    #[arg(long, default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// URL of GitHub or of a fake: `http://host:port`
    #[arg(long, env = "GITHUB_API_URL")]
    github_api_url: http::Uri,
    /// Seconds for which a cache entry is fresh
    #[arg(long, env = "CACHE_TTL", default_value_t = 300)]
    cache_ttl: u64,
    /// Maximum number of cache entries
    #[arg(long, env = "CACHE_ENTRIES", default_value_t = 10_000)]
    cache_entries: u64,
    /// Number of threads, each with its own runtime [default: one a core]
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
