//! Brings about what goes wrong around a host, and what only time shows: `make faults`, `make soak`.

mod client;
mod fault;
mod faults;
mod load;
mod report;
mod site;
mod soak;
mod system;
mod tally;
mod traffic;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use e2e::harness::raise_open_files;

use crate::fault::{Failure, Fault};

/// Brings about faults around wasi-http-host with gists.wasm, one after another, under load, and prints a line for each: what was
/// done, how many answers were degraded in a documented way, what was lost, and how long it took until all was normal.
///
/// A request is lost when a client saw it fail and this fault is no reason for that: it got no answer, a wrong one, or an error. So is
/// a count that the host's or the component's metrics lack. Anything lost fails the run (exit 1).
#[derive(Parser)]
#[command(name = "faults", version, max_term_width = 110)]
struct Arguments {
    /// Only these, by name; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// List the faults
    #[arg(long)]
    list: bool,
    /// A JSON object a line in place of the table
    #[arg(long)]
    json: bool,
    /// A fault that cannot be brought about on this machine fails the run too
    #[arg(long)]
    strict: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Mixed load for minutes, with figures: memory, files, threads, instances, permits, connections
    Soak(soak::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    raise_open_files();
    match arguments.command {
        Some(Command::Soak(ref soak)) => soak::run(soak).await,
        None => bring_about(&arguments).await,
    }
}

async fn bring_about(arguments: &Arguments) -> ExitCode {
    let wanted = match chosen(&arguments.only) {
        Ok(wanted) => wanted,
        Err(unknown) => {
            eprintln!("faults: --only {unknown}: there is no such fault; --list tells which there are");
            return ExitCode::from(64);
        }
    };
    if arguments.list {
        for fault in wanted {
            println!("{:22}  {}", fault.name, fault.about);
        }
        return ExitCode::SUCCESS;
    }
    if !arguments.json {
        println!("{}", report::heading());
    }
    let begun = Instant::now();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for fault in wanted {
        let run = fault.bring_about().await;
        match &run.outcome {
            Ok(_) => passed += 1,
            Err(Failure::Broken(_)) => failed += 1,
            Err(Failure::NotHere(_)) => skipped += 1,
        }
        if arguments.json {
            println!("{}", report::json(&run));
        } else {
            println!("{}", report::line(&run));
        }
    }
    if !arguments.json {
        println!("{passed} passed, {failed} failed, {skipped} skipped");
        println!("in {:.0} s", begun.elapsed().as_secs_f64());
    }
    if failed > 0 || passed == 0 || (arguments.strict && skipped > 0) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn chosen(only: &[String]) -> Result<Vec<&'static Fault>, &String> {
    if only.is_empty() {
        return Ok(faults::ALL.iter().collect());
    }
    let find = |name| faults::ALL.iter().find(|fault| fault.name == name);
    only.iter().map(|name| find(name).ok_or(name)).collect()
}
