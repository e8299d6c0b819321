//! Steps of the clock: CLOCK_REALTIME alone, as an operator or NTP sets it.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::fake::{Delivery, ScriptedResponse};
use tempfile::TempDir;
use testkit::{Host, HostOptions, http::Request, paths::target, until};
use tokio::time::sleep;

use crate::fault::{Failure, Observed, Outcome, ensure};
use crate::load::Load;
use crate::plan::Allows;
use crate::system::libfaketime;
use crate::testbed::Testbed;
use crate::traffic::Mix;

/// The variable that names a dynamically linked host: libfaketime works by `LD_PRELOAD`.
const PROGRAM: &str = "FAULTS_DYNAMIC_HOST";
/// The wait behind a step of the clock. It is longer than the difference of two clocks that the component accepts.
const SEEN: Duration = Duration::from_millis(1500);

/// A user that no load requests.
const SOMEBODY: &str = "somebody";

/// The clock of a host, which libfaketime reads from a file.
pub(super) struct Clock {
    library: PathBuf,
    program: PathBuf,
    directory: TempDir,
}

impl Clock {
    /// A clock that shows the real time.
    pub(super) async fn real() -> Result<Self, Failure> {
        let Some(library) = libfaketime() else {
            return Err(Failure::NotRunnable("no libfaketime: apt-get install faketime".to_owned()));
        };
        let program = dynamic_host()?;
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let clock = Self { library, program, directory };
        clock.set(0).await?;
        Ok(clock)
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("offset")
    }

    /// Makes a host read this clock.
    pub(super) fn read_by(&self, options: HostOptions) -> HostOptions {
        options
            .program(self.program.clone())
            .setting("ld_preload", &self.library.to_string_lossy())
            .setting("faketime_timestamp_file", &self.file().to_string_lossy())
            .setting("faketime_no_cache", "1")
            .setting("faketime_dont_fake_monotonic", "1")
            .setting("faketime_dont_reset", "1")
    }

    /// Sets the host's clock to the real time plus `offset` seconds. The file is renamed, so that the host never reads a part of it.
    pub(super) async fn set(&self, offset: i64) -> Result<(), String> {
        let file = self.file();
        let new = file.with_extension("new");
        let text = format!("{offset:+}\n");
        fs::write(&new, text).and_then(|()| fs::rename(&new, &file)).map_err(|error| error.to_string())?;
        sleep(SEEN).await;
        Ok(())
    }
}

pub(super) async fn steps() -> Outcome {
    let clock = Clock::real().await?;
    let mut testbed = Testbed::alone(|options| {
        clock.read_by(options.setting("upstream_timeout", "5").setting("cache_ttl", "300"))
    })
    .await?;
    // 429 is allowed while GitHub's rate limit is reached.
    let (load, counted) = testbed.load(Mix::ALL, Allows::errors(&[429])).await?;
    let revalidated = an_hour_passes(&mut testbed, &clock, &load).await?;
    let mut asked = set_back_during_a_request(&mut testbed, &clock).await?;
    load.recovered().await?;
    // An entry with a time in the future is not fresh.
    ensure!(load.tally().uncached > revalidated, "entries from the future were served as fresh");
    asked += the_rate_limit_is_reset(&mut testbed, &clock).await?;

    clock.set(0).await?;
    let (tally, recovered_after) = testbed.end(load, &counted, asked).await?;
    Ok(Observed {
        done: "+1 h, −2 h, +2 h, −1 h; limits, entries and the rate-limit gate are right".to_owned(),
        tally,
        recovered_after,
    })
}

/// The host's program. libfaketime does nothing to a statically linked one.
fn dynamic_host() -> Result<PathBuf, Failure> {
    let program =
        std::env::var_os(PROGRAM).map_or_else(|| target().join("release/wasi-http-host"), PathBuf::from);
    if program.is_file() {
        return Ok(program);
    }
    let program = program.display();
    Err(Failure::NotRunnable(format!(
        "{program} is not there: cargo build --release --package wasi-http-host, or set {PROGRAM} to a host that is not linked statically"
    )))
}

/// Cache entries expire when the clock is set forward by an hour. Returns the number of uncached responses so far.
async fn an_hour_passes(testbed: &mut Testbed, clock: &Clock, load: &Load) -> Result<u64, Failure> {
    // The hour in the timestamp of the host's last access line.
    let hour = |host: &Host| -> Option<String> {
        let lines = host.log().lines();
        let line = lines.iter().rev().find(|line| line.get("message") == Some("request"));
        line.and_then(|line| line.get("timestamp")?.get(..13).map(str::to_owned))
    };
    let host = testbed.host()?;
    let before = hour(host);
    clock.set(3600).await?;
    until("the host's clock shows another hour", async || (hour(host) != before).then_some(())).await;
    load.recovered().await?;
    let revalidated = load.tally().uncached;
    ensure!(revalidated > 0, "entries outlived their time by an hour");
    Ok(revalidated)
}

/// A request waits for a time limit while the clock is set back. Returns the number of requests.
async fn set_back_during_a_request(testbed: &mut Testbed, clock: &Clock) -> Result<u64, Failure> {
    testbed.github.add_user(SOMEBODY, 1, 0);
    testbed.github.always(SOMEBODY, ScriptedResponse::genuine().deliver(Delivery::Silence));
    let address = testbed.host()?.address();
    let waiting = tokio::spawn(async move {
        let begun = Instant::now();
        let ask = Request::get(&format!("/{SOMEBODY}?per_page=77")).to(address);
        (ask.try_send().await.map(|reply| reply.status), begun.elapsed())
    });
    let asked_for = async || (!testbed.github.journal().calls_for(SOMEBODY).is_empty()).then_some(());
    until("GitHub is asked", asked_for).await;
    clock.set(-3600).await?;
    let (status, waited) = waiting.await.map_err(|error| error.to_string())?;
    ensure!(
        matches!(status, Ok(504)),
        "GitHub was silent for longer than its limit, and the answer is {status:?} after {waited:?}"
    );
    testbed.github.restore(SOMEBODY);
    Ok(1)
}

/// GitHub's rate limit is reached, and the clock passes its reset, which is a time of day. Returns the number of
/// requests.
async fn the_rate_limit_is_reset(testbed: &mut Testbed, clock: &Clock) -> Result<u64, Failure> {
    testbed.github.set_rate_limit(0);
    let limited = testbed.host()?.get(&format!("/{SOMEBODY}?per_page=78")).await;
    ensure!(limited.status == 429, "GitHub's limit is reached, and the answer is {}", limited.status);
    testbed.github.set_rate_limit(1_000_000);
    clock.set(3600).await?;
    let open = testbed.host()?.get(&format!("/{SOMEBODY}?per_page=79")).await;
    ensure!(open.status == 200, "the gate is closed after its reset: {}", open.status);
    Ok(2)
}
