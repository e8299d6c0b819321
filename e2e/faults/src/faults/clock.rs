//! A clock that is set: CLOCK_REALTIME alone, as by an operator or by NTP after a long silence.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::fake::{Answer, Delivery};
use e2e::harness::{Host, target, until};
use tokio::time::sleep;

use crate::fault::{Failure, Outcome, Shown, ensure};
use crate::load::Allows;
use crate::site::Site;
use crate::system::libfaketime;
use crate::traffic::Mix;

/// A host that loads libraries at run time, as the development build does: libfaketime is one.
const PROGRAM: &str = "FAULTS_DYNAMIC_HOST";
/// Longer than the component believes a difference of two clocks.
const SEEN: Duration = Duration::from_millis(1500);

/// Whom no load asks for.
const SOMEBODY: &str = "somebody";

struct Clock {
    file: PathBuf,
}

impl Clock {
    /// Sets the hosts' clocks to ours and so many seconds. By rename: they must not read half a number.
    async fn set(&self, offset: i64) -> Result<(), String> {
        let new = self.file.with_extension("new");
        let text = format!("{offset:+}\n");
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &self.file))
            .map_err(|error| error.to_string())?;
        sleep(SEEN).await;
        Ok(())
    }
}

pub(super) async fn steps() -> Outcome {
    let Some(library) = libfaketime() else {
        return Err(Failure::NotHere("no libfaketime: apt-get install faketime".to_owned()));
    };
    let program =
        std::env::var_os(PROGRAM).map_or_else(|| target().join("release/wasi-http-host"), PathBuf::from);
    if !program.is_file() {
        let program = program.display();
        return Err(Failure::NotHere(format!(
            "{program} is not there: cargo build --release --package wasi-http-host, or set {PROGRAM} to a host that is not linked statically"
        )));
    }
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let clock = Clock { file: dir.path().join("offset") };
    clock.set(0).await?;
    let mut site = Site::alone(|options| {
        faked(
            options.program(program).setting("upstream_timeout", "5").setting("cache_ttl", "300"),
            &library,
            &clock.file,
        )
    })
    .await?;
    // The hour of its last access line.
    let believes = |host: &Host| -> Option<String> {
        let lines = host.log().lines();
        let line = lines.iter().rev().find(|line| line.get("message") == Some("request"));
        line.and_then(|line| line.get("timestamp")?.get(..13).map(str::to_owned))
    };
    // Tolerated for when GitHub's limit is reached.
    let (load, counted) = site.load(Mix::ALL, Allows::errors(&[429])).await?;
    let before = believes(site.host()?);
    let mut asked = 0;

    clock.set(3600).await?;
    let host = site.host()?;
    until("the host believes in another hour", async || (believes(host) != before).then_some(())).await;
    load.normal_again().await?;
    let revalidated = load.tally().uncached;
    ensure!(revalidated > 0, "entries outlived their time by an hour");

    // A time limit that is waited for while the clock goes back.
    site.github.add_user(SOMEBODY, 1, 0);
    site.github.always(SOMEBODY, Answer::truth().deliver(Delivery::Silence));
    let address = site.host()?.address();
    let waiting = tokio::spawn(async move {
        let begun = Instant::now();
        let ask = e2e::harness::Ask::new(address, "GET", &format!("/{SOMEBODY}?per_page=77"));
        (ask.try_send().await.map(|reply| reply.status), begun.elapsed())
    });
    let asked_for = async || (!site.github.journal().calls_for(SOMEBODY).is_empty()).then_some(());
    until("GitHub is asked", asked_for).await;
    clock.set(-3600).await?;
    let (status, waited) = waiting.await.map_err(|error| error.to_string())?;
    asked += 1;
    ensure!(
        matches!(status, Ok(504)),
        "GitHub was silent for longer than its limit, and the answer is {status:?} after {waited:?}"
    );
    site.github.truth(SOMEBODY);
    load.normal_again().await?;
    // What was stored in what is now the future is not believed.
    ensure!(load.tally().uncached > revalidated, "entries from the future were served as fresh");

    // GitHub's limit is reached, and its reset is a time of day.
    site.github.set_rate_limit(0);
    let limited = site.host()?.get(&format!("/{SOMEBODY}?per_page=78")).await;
    asked += 1;
    ensure!(limited.status == 429, "GitHub's limit is reached, and the answer is {}", limited.status);
    site.github.set_rate_limit(1_000_000);
    clock.set(3600).await?;
    let open = site.host()?.get(&format!("/{SOMEBODY}?per_page=79")).await;
    asked += 1;
    ensure!(open.status == 200, "past its time the gate is still shut: {}", open.status);

    clock.set(0).await?;
    let (tally, normal_after) = site.end(load, &counted, asked).await?;
    Ok(Shown {
        done: "+1 h, −2 h, +2 h, −1 h; limits, entries and GitHub's gate held".to_owned(),
        tally,
        normal_after,
    })
}

fn faked(options: e2e::harness::Options, library: &Path, file: &Path) -> e2e::harness::Options {
    options
        .setting("ld_preload", &library.to_string_lossy())
        .setting("faketime_timestamp_file", &file.to_string_lossy())
        .setting("faketime_no_cache", "1")
        .setting("faketime_dont_fake_monotonic", "1")
        .setting("faketime_dont_reset", "1")
}
