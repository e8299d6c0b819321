//! `wasi-http-host`: the command line over the library of the same name.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
};

use clap::{Parser, error::ErrorKind};
use signal_hook::{
    consts::{SIGINT, SIGTERM, SIGXFSZ},
    flag,
};
use wasi_http_host::{
    Config, ExitStatus, Host, Inspection, Shutdown, StartError, compile, inspect, raise_open_files,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The settings that are no flags.
const TRACES: &str = "Traces: by the variables of OpenTelemetry, off until OTEL_EXPORTER_OTLP_ENDPOINT (or \
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) says where they go: OTEL_EXPORTER_OTLP_PROTOCOL (http/protobuf, grpc), _HEADERS, \
    _TIMEOUT, _CERTIFICATE, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER and _ARG, OTEL_PROPAGATORS \
    (tracecontext, none), OTEL_BSP_*, OTEL_TRACES_EXPORTER (otlp, none), OTEL_SDK_DISABLED";

/// Runs WASI HTTP components.
#[derive(Parser)]
#[command(name = "wasi-http-host", version, about, max_term_width = 110)]
enum Cli {
    /// Serve a component until SIGTERM or SIGINT
    #[command(after_help = TRACES)]
    Serve(Box<Config>),
    /// Compile a component into the cache, so that serve starts at once
    Compile(Box<Config>),
    /// Show what a component imports and exports, and whether this host satisfies it
    Inspect {
        #[command(flatten)]
        config: Box<Config>,
        /// For programs
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    save_memory();
    ignore_file_size_signal();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be done about a terminal that takes no text.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitStatus::Usage.into(),
            };
        }
    };
    if !matches!(cli, Cli::Serve(_)) {
        end_by_signals();
        // What there is to say while it takes its time, beside the result.
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).without_time().init();
    }
    let done = match cli {
        Cli::Serve(config) => serve(*config),
        Cli::Compile(config) => report_compile(&config),
        Cli::Inspect { config, json } => report_inspect(&config, json),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("wasi-http-host: {error}");
            if error.is_setting() { ExitStatus::Usage.into() } else { ExitStatus::Failed.into() }
        }
    }
}

/// The allocator asks for huge pages, and gets whole ones for the first bytes that each of its regions holds: of an
/// idle process's memory they were a third. Nothing else here asks for them.
#[cfg(target_os = "linux")]
fn save_memory() {
    // Where the kernel knows none there is nothing to save.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

#[cfg(not(target_os = "linux"))]
fn save_memory() {}

/// A file that may not grow (`ulimit -f`) is an error of that write, as on a full disk: not the process's end, which is
/// what the signal alone would mean.
fn ignore_file_size_signal() {
    // Where that is refused, it ends as it would have.
    let _ = flag::register(SIGXFSZ, Arc::<AtomicBool>::default());
}

/// What ends without ado does so as process 1 too, where the kernel ignores what has no handler.
fn end_by_signals() {
    for signal in [SIGTERM, SIGINT] {
        let always = Arc::new(AtomicBool::new(true));
        // Where that is refused, the kernel's default is what there is.
        let _ = flag::register_conditional_shutdown(signal, 128 + signal, always);
    }
}

fn serve(config: Config) -> Result<ExitCode, StartError> {
    raise_open_files();
    // Before anything is compiled, which takes seconds.
    let shutdown = Shutdown::on_signals()?;
    Host::new(config)?.run(shutdown)?;
    Ok(ExitCode::SUCCESS)
}

fn report_compile(config: &Config) -> Result<ExitCode, StartError> {
    for report in compile(&config.application)? {
        let file = report.file.as_deref().map_or("not kept".to_owned(), |file| file.display().to_string());
        let how = if report.from_cache { "found" } else { "compiled" };
        println!("{file} ({}: {how} in {} ms)", report.component, report.duration.as_millis());
    }
    Ok(ExitCode::SUCCESS)
}

/// Fails when this host cannot serve one of the components, so that scripts may ask.
fn report_inspect(config: &Config, json: bool) -> Result<ExitCode, StartError> {
    let all = inspect(&config.application)?;
    if json {
        // One component is shown as itself, several by their names.
        let text = match &*all {
            [only] => serde_json::to_string_pretty(&only.inspection),
            all => {
                let named: BTreeMap<_, _> =
                    all.iter().map(|one| (one.component.as_str(), &one.inspection)).collect();
                serde_json::to_string_pretty(&named)
            }
        };
        println!("{}", text.map_err(std::io::Error::other)?);
    } else {
        for one in &all {
            if all.len() > 1 {
                println!("component: {}", one.component);
            }
            print_inspection(&one.inspection);
        }
    }
    let runs = all.iter().all(|one| one.inspection.runs());
    Ok(if runs { ExitStatus::Done.into() } else { ExitStatus::Failed.into() })
}

fn print_inspection(inspection: &Inspection) {
    println!("kind: {}", inspection.kind.unwrap_or("none: it serves no HTTP"));
    println!("imports:");
    for import in &inspection.imports {
        let mark = if import.satisfied { "ok" } else { "MISSING" };
        println!("  {mark:7} {}", import.name);
        if let Some(reason) = &import.reason {
            println!("          {reason}");
        }
    }
    println!("exports:");
    for export in &inspection.exports {
        println!("  {export}");
    }
}
