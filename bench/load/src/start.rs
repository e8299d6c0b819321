//! Measures the time from a program's exec to its first response.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Pid, Signal, kill_process_group};

/// Between two attempts to connect.
const RETRY_INTERVAL: Duration = Duration::from_micros(100);
/// A start that takes longer is an error.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Between the end of a program and its next start, so that the system has released its memory and its port.
const PAUSE: Duration = Duration::from_millis(200);

/// Options of `bench-load start`.
#[derive(Args)]
pub(crate) struct Plan {
    /// Address on which the program will listen
    #[arg(long)]
    address: SocketAddr,
    /// Path to request; the status must be 200
    #[arg(long)]
    path: String,
    /// Number of starts
    #[arg(long, default_value_t = 9)]
    times: u32,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Starts the program repeatedly, and prints the milliseconds of each start as JSON.
///
/// # Errors
/// Fails when the program cannot be started, ends, or does not respond with 200 within [`TIMEOUT`].
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    let taken = (0..plan.times).map(|_| once(plan)).collect::<io::Result<Vec<f64>>>()?;
    println!("{}", serde_json::json!(taken));
    Ok(())
}

fn once(plan: &Plan) -> io::Result<f64> {
    let Some((program, arguments)) = plan.command.split_first() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let started = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
    let answered = first_answer(plan, &mut child, started);
    // Kill the whole process group: a process that it started may hold the port. The group may be gone already, which `first_answer` reports.
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    child.wait()?;
    thread::sleep(PAUSE);
    answered.map(|taken| taken.as_secs_f64() * 1e3)
}

fn first_answer(plan: &Plan, child: &mut Child, started: Instant) -> io::Result<Duration> {
    while started.elapsed() < TIMEOUT {
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(format!(
                "{} ended before its first response: {status}",
                plan.command.join(" ")
            )));
        }
        match ask(plan) {
            Ok(true) => return Ok(started.elapsed()),
            Ok(false) => return Err(io::Error::other(format!("{}: the status is not 200", plan.path))),
            // The program does not listen yet, or closes connections until it is ready.
            Err(_) => thread::sleep(RETRY_INTERVAL),
        }
    }
    Err(io::Error::other(format!("{} does not respond within {TIMEOUT:?}", plan.command.join(" "))))
}

/// Sends one request. Tells whether the status is 200.
fn ask(plan: &Plan) -> io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&plan.address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", plan.path, plan.address)?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(&head == b"HTTP/1.1 200")
}
