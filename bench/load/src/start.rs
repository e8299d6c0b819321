//! How long a program takes from its exec to its first answer.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Pid, Signal, kill_process_group};

/// Between two tries to connect.
const TRY_EVERY: Duration = Duration::from_micros(100);
/// What takes longer does not start.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a program may do before it is started again: it still writes what it keeps.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Args)]
pub(crate) struct Plan {
    /// Where the program will listen
    #[arg(long)]
    address: SocketAddr,
    /// What is asked for; the answer must be 200
    #[arg(long)]
    path: String,
    /// How often
    #[arg(long, default_value_t = 9)]
    times: u32,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Starts the program so many times, one after the other, and prints the milliseconds that each took as JSON.
///
/// # Errors
/// When it cannot be started, ends, or does not answer 200 within a minute.
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
    // Killed, for how it ends is not what is measured; with all that it started, or the next finds its address taken.
    // One that has ended by itself is told of by what came of asking it.
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    child.wait()?;
    thread::sleep(PAUSE);
    answered.map(|taken| taken.as_secs_f64() * 1e3)
}

fn first_answer(plan: &Plan, child: &mut Child, started: Instant) -> io::Result<Duration> {
    while started.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(format!("{} ended at once: {status}", plan.command.join(" "))));
        }
        match ask(plan) {
            Ok(true) => return Ok(started.elapsed()),
            Ok(false) => return Err(io::Error::other(format!("{} is not answered with 200", plan.path))),
            // Not listening yet, or not answering yet: a listener that hangs up is asked again.
            Err(_) => thread::sleep(TRY_EVERY),
        }
    }
    Err(io::Error::other(format!("{} does not answer after {PATIENCE:?}", plan.command.join(" "))))
}

/// Whether the answer is 200.
fn ask(plan: &Plan) -> io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&plan.address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", plan.path, plan.address)?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(&head == b"HTTP/1.1 200")
}
