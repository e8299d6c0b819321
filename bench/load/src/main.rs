//! The benchmark's own load generator.
//!
//! `wrk` cannot send at a fixed rate, for many users, or beside many idle connections. This program can. It also has a fake upstream server
//! and measures the time from a program's start to its first response.

mod http;
mod load;
mod start;
mod upstream;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;

/// Generates load for the benchmark.
#[derive(Parser)]
enum Arguments {
    /// Send requests, and print throughput and latencies as JSON
    Run(load::Plan),
    /// Start a program several times, and print the milliseconds to each first response as JSON
    Start(start::Plan),
    /// Serve a fake GitHub, whose user `s{bytes}-{anything}` has one gist with a description of that length
    Upstream {
        /// Address to listen on; with port 0, the system chooses a free port
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
}

fn main() -> ExitCode {
    let done = tokio::runtime::Builder::new_current_thread().enable_all().build().and_then(|runtime| {
        runtime.block_on(async {
            match Arguments::parse() {
                Arguments::Run(plan) => load::run(plan).await,
                Arguments::Start(plan) => start::run(&plan),
                Arguments::Upstream { listen } => upstream::serve(listen).await,
            }
        })
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-load: {}", describe(&error));
            ExitCode::FAILURE
        }
    }
}

fn describe(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(24) => format!("{error}: raise `ulimit -n`"),
        _ => error.to_string(),
    }
}
