//! Fault injection around a host (`make faults`) and a soak test (`make soak`).

mod client;
mod fault;
mod faults;
mod load;
mod load_state;
mod plan;
mod report;
mod soak;
mod system;
mod tally;
mod testbed;
mod traffic;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use testkit::limits::raise_open_files;

use crate::fault::{Failure, Fault};

/// Injects faults around wasi-http-host with gists.wasm, one after another, under load. For each fault, prints a line: what was done,
/// how many responses were degraded in a documented way, what was lost, and how long recovery took.
///
/// A request is lost if it has no response, a wrong one, or an error, and the fault does not explain that. A count is lost if the
/// metrics of the host or the component lack it. Anything lost fails the run (exit code 1).
#[derive(Parser)]
#[command(name = "faults", version, max_term_width = 110)]
struct Arguments {
    /// Inject only this fault; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// List the faults
    #[arg(long)]
    list: bool,
    /// Print a JSON object for each fault in place of the table
    #[arg(long)]
    json: bool,
    /// Fail the run if a fault cannot be injected on this machine
    #[arg(long)]
    strict: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run a mixed load for minutes, and watch memory, files, threads, instances, permits and connections
    Soak(soak::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    raise_open_files();
    match arguments.command {
        Some(Command::Soak(ref soak)) => soak::run(soak).await,
        None => inject(&arguments).await,
    }
}

async fn inject(arguments: &Arguments) -> ExitCode {
    let wanted = match chosen(&arguments.only) {
        Ok(wanted) => wanted,
        Err(unknown) => {
            eprintln!("faults: --only {unknown}: no such fault; --list lists the faults");
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
        let run = fault.inject().await;
        match &run.outcome {
            Ok(_) => passed += 1,
            Err(Failure::Violated(_)) => failed += 1,
            Err(Failure::NotRunnable(_)) => skipped += 1,
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
