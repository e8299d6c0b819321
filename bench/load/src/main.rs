//! What `wrk` lacks: an equal rate for all, many users and many idle connections, an upstream for it; and the time to a first answer.

mod http;
mod load;
mod start;
mod upstream;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;

/// Load for the benchmark.
#[derive(Parser)]
enum Arguments {
    /// Sends requests, and prints what came of them as JSON
    Run(load::Plan),
    /// Starts a program several times, and prints how long each first answer took, as JSON in milliseconds
    Start(start::Plan),
    /// A GitHub whose user `s{bytes}-{anything}` has one gist, with so many bytes of description
    Upstream {
        /// Where to listen; port 0 takes a free one.
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
