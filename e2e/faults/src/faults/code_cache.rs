//! Faults of the cache of compiled code.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::{Host, HostOptions};

use crate::fault::{Observed, Outcome, ensure};
use crate::plan::Allows;
use crate::system::with_mounts;
use crate::tally::Tally;
use crate::testbed::Testbed;
use crate::traffic::Mix;

/// The number of responses after each start.
const AFTER: u64 = 200;

pub(super) async fn full() -> Outcome {
    let dir = scratch()?;
    let under = with_mounts("mount -t tmpfs -o size=64k,mode=700 none \"$1\"", &[dir.path()])?;
    let testbed = Testbed::alone(|options| at(options, dir.path()).under(under)).await?;
    let tally = served(&testbed).await?;
    said(&testbed, "compiled code cannot be cached", 1)?;
    let done = format!("64 KiB of disk for code; warned once; started in {}", started(&testbed));
    Ok(Observed { done, tally, recovered_after: std::time::Duration::ZERO })
}

/// As [`full`], by a limit of the process (RLIMIT_FSIZE), which sends a signal.
pub(super) async fn limited() -> Outcome {
    let dir = scratch()?;
    let under = ["prlimit", "--fsize=1048576"];
    let testbed = Testbed::alone(|options| at(options, dir.path()).under(under)).await?;
    let tally = served(&testbed).await?;
    said(&testbed, "compiled code cannot be cached", 1)?;
    let left = fs::read_dir(dir.path()).map_err(|error| error.to_string())?.count();
    ensure!(left == 0, "{left} partial files are left");
    let done = format!("files may not grow beyond a MiB (ulimit -f); started in {}", started(&testbed));
    Ok(Observed { done, tally, recovered_after: std::time::Duration::ZERO })
}

pub(super) async fn read_only() -> Outcome {
    let home = scratch()?;
    let script = "mount -t tmpfs -o ro none \"$1\"; mount --bind /tmp /tmp; mount -o remount,bind,ro /tmp";
    let under = with_mounts(script, &[home.path()])?;
    let home_is = home.path().to_string_lossy().into_owned();
    let testbed =
        Testbed::alone(|options| options.without("--cache-dir").setting("home", &home_is).under(under))
            .await?;
    let tally = served(&testbed).await?;
    said(&testbed, "compiled code cannot be cached", 1)?;
    let done = format!("HOME and /tmp read-only; warned once; started in {}", started(&testbed));
    Ok(Observed { done, tally, recovered_after: std::time::Duration::ZERO })
}

pub(super) async fn damaged() -> Outcome {
    let dir = scratch()?;
    let mut all = Tally::default();
    let whole = {
        let testbed = Testbed::alone(|options| at(options, dir.path())).await?;
        said(&testbed, "compiled code cannot", 0)?;
        let code = code(dir.path())?;
        (code.clone(), fs::read(&code).map_err(|error| error.to_string())?)
    };
    let (path, whole) = whole;
    let half = whole.get(..whole.len() / 2).unwrap_or_default();
    let flipped: Vec<u8> = whole
        .iter()
        .enumerate()
        .map(|(at, byte)| if at == whole.len() / 2 { !byte } else { *byte })
        .collect();
    let longer = [&whole, whole.get(..4096).unwrap_or_default()].concat();
    for damage in [half, &flipped, &longer, b"", b"#!/bin/sh"] {
        fs::write(&path, damage).map_err(|error| error.to_string())?;
        let testbed = Testbed::alone(|options| at(options, dir.path())).await?;
        all.absorb(served(&testbed).await?);
        said(&testbed, "compiled code cannot be used", 1)?;
        let rewritten = fs::read(&path).map_err(|error| error.to_string())?;
        ensure!(rewritten.len() == whole.len(), "{} was not compiled again", path.display());
    }
    // The file that was written again is used.
    let testbed = Testbed::alone(|options| at(options, dir.path())).await?;
    said(&testbed, "compiled code cannot", 0)?;
    let done = "cut, a bit flipped, lengthened, emptied, replaced: recompiled each time".to_owned();
    Ok(Observed { done, tally: all, recovered_after: std::time::Duration::ZERO })
}

fn scratch() -> Result<tempfile::TempDir, String> {
    tempfile::tempdir_in(testkit::paths::target()).map_err(|error| error.to_string())
}

fn at(options: HostOptions, dir: &Path) -> HostOptions {
    options.flag("--cache-dir", &dir.to_string_lossy())
}

/// The file of compiled code.
fn code(dir: &Path) -> Result<PathBuf, String> {
    let found = fs::read_dir(dir).map_err(|error| error.to_string())?.flatten().map(|entry| entry.path());
    let mut found = found.filter(|path| path.extension().is_some_and(|extension| extension == "cwasm"));
    found.next().ok_or_else(|| format!("no compiled code in {}", dir.display()))
}

async fn served(testbed: &Testbed) -> Result<Tally, String> {
    let (load, counted) = testbed.load(Mix::ALL, Allows::NOTHING).await?;
    load.more(AFTER).await?;
    let tally = load.finish().await;
    counted.all(testbed, &tally, 0).await?;
    if tally.degraded() > 0 {
        return Err(format!("answers are degraded: {tally:?}"));
    }
    Ok(tally)
}

/// Checks how often a text is in the host's log.
fn said(testbed: &Testbed, what: &str, times: usize) -> Result<(), String> {
    let lines = testbed.hosts.first().map(|host| host.log().lines()).unwrap_or_default();
    let said = lines.iter().filter(|line| line.text.contains(what)).count();
    if said == times { Ok(()) } else { Err(format!("{what:?} is {said} times in the log, not {times}")) }
}

fn started(testbed: &Testbed) -> String {
    let started_in = testbed.hosts.first().map(Host::started_in).unwrap_or_default();
    format!("{:.1} s", started_in.as_secs_f64())
}
