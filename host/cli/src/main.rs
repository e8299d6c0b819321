//! `wasi-http-host`: the command line of the library `wasi_http_host`.

mod allocator;

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
};

use clap::{Parser, error::ErrorKind};
use signal_hook::{
    consts::{SIGINT, SIGTERM, SIGXFSZ},
    flag,
};
use wasi_http_host::{
    CommandLine, Config, ExitStatus, Failure, Host, Inspection, ProbeConfig, Shutdown, StartError, compile,
    inspect, probe, raise_open_files,
};
use wasi_http_host_telemetry::with_colours;

#[global_allocator]
static ALLOCATOR: allocator::Mimalloc = allocator::Mimalloc;

/// Help about settings that have no flag.
const TRACES: &str = "Traces are configured by OpenTelemetry's variables. Traces are off until OTEL_EXPORTER_OTLP_ENDPOINT (or \
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) is set. Further variables: OTEL_EXPORTER_OTLP_PROTOCOL (http/protobuf, grpc), _HEADERS, \
    _TIMEOUT, _CERTIFICATE, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER and _ARG, OTEL_PROPAGATORS \
    (tracecontext, none), OTEL_BSP_*, OTEL_TRACES_EXPORTER (otlp, none), OTEL_SDK_DISABLED";

/// Runs WASI HTTP components.
#[derive(Parser)]
#[command(name = "wasi-http-host", version, about, max_term_width = 110)]
enum Cli {
    /// Serve a component until SIGTERM or SIGINT
    #[command(after_help = TRACES)]
    Serve(Box<Config>),
    /// Compile a component into the cache, so that serve starts without compiling
    Compile(Box<Config>),
    /// Show what a component imports and exports, and whether this host provides each import
    Inspect {
        #[command(flatten)]
        config: Box<Config>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask a running host whether it is ready: exit code 0 or 1, for the health check of a container
    Probe(ProbeConfig),
}

impl Cli {
    /// The file for the reason of a failure. A probe has none: the file belongs to the container's first process.
    fn termination_log(&self) -> Option<PathBuf> {
        match self {
            Self::Serve(config) | Self::Compile(config) | Self::Inspect { config, .. } => {
                Some(config.termination_log.clone())
            }
            Self::Probe(_) => None,
        }
    }
}

fn main() -> ExitCode {
    save_memory();
    ignore_file_size_signal();
    let given = CommandLine::of_process();
    let cli = match Cli::try_parse_from(given.words()) {
        Ok(cli) => cli,
        Err(error) => return without_command(&error, &given),
    };
    let termination_log = cli.termination_log();
    if !matches!(cli, Cli::Serve(_)) {
        end_by_signals();
        // Log lines go to stderr, because the result goes to stdout.
        let colours = with_colours(&io::stderr());
        let log = tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(colours);
        log.with_target(false).without_time().init();
    }
    let done = match cli {
        Cli::Serve(config) => serve(*config),
        Cli::Compile(config) => report_compile(&config),
        Cli::Inspect { config, json } => report_inspect(&config, json),
        Cli::Probe(config) => return report_probe(&config, &given),
    };
    match done {
        Ok(code) => code,
        Err(error) => Failure::of_command(&error, &given, termination_log).report(),
    }
}

/// Prints the help or the version, or reports why the command line cannot be used.
fn without_command(error: &clap::Error, given: &CommandLine) -> ExitCode {
    let code = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Failure::of_usage(error, given).report(),
        _ => return Failure::of_usage(error, given).report(),
    };
    // The error is ignored: without a working output, nothing more can be printed.
    let _ = error.print();
    code
}

/// Disables transparent huge pages, which the allocator would get for the first bytes of each of its regions. They
/// made up one third of an idle process's memory. Nothing else here asks for them.
#[cfg(target_os = "linux")]
fn save_memory() {
    // A kernel without huge pages returns an error, and there is nothing to save.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

#[cfg(not(target_os = "linux"))]
fn save_memory() {}

/// Ignores SIGXFSZ, so that a write beyond the file size limit (`ulimit -f`) is an error of that write, as on a full
/// disk. By default, the signal ends the process.
fn ignore_file_size_signal() {
    // If the handler cannot be registered, the signal ends the process as before.
    let _ = flag::register(SIGXFSZ, Arc::<AtomicBool>::default());
}

/// Installs handlers for commands that end immediately on a signal. For process 1, the kernel ignores signals without
/// a handler.
fn end_by_signals() {
    for signal in [SIGTERM, SIGINT] {
        let always = Arc::new(AtomicBool::new(true));
        // If the handler cannot be registered, the kernel's default applies.
        let _ = flag::register_conditional_shutdown(signal, 128 + signal, always);
    }
}

fn serve(config: Config) -> Result<ExitCode, StartError> {
    raise_open_files();
    // Register before compiling, which takes seconds.
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

/// Fails if this host cannot serve one of the components, so that scripts can test for this.
fn report_inspect(config: &Config, json: bool) -> Result<ExitCode, StartError> {
    let all = inspect(&config.application)?;
    if json {
        // One component is printed alone; several are printed by their IDs.
        let text = match &*all {
            [only] => serde_json::to_string_pretty(&only.inspection),
            all => {
                let named: BTreeMap<_, _> =
                    all.iter().map(|one| (one.component.as_str(), &one.inspection)).collect();
                serde_json::to_string_pretty(&named)
            }
        };
        println!("{}", text.map_err(io::Error::other)?);
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

fn report_probe(config: &ProbeConfig, given: &CommandLine) -> ExitCode {
    match probe(config) {
        Ok(answer) => {
            // The exit code is the result, with and without a working output.
            let _ = writeln!(io::stdout(), "{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => Failure::of_probe(&error, given).report(),
    }
}

fn print_inspection(inspection: &Inspection) {
    println!("kind: {}", inspection.kind.unwrap_or("none: it does not serve HTTP"));
    println!("imports:");
    for import in &inspection.imports {
        let mark = if import.satisfied { "ok" } else { "MISSING" };
        println!("  {mark:7} {}", import.name);
        if let Some(reason) = &import.reason {
            println!("          {reason}");
        }
        if let Some(advice) = import.advice {
            println!("          {advice}");
        }
    }
    println!("exports:");
    for export in &inspection.exports {
        println!("  {export}");
    }
}
