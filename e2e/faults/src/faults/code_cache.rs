//! Where compiled code is kept.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::harness::{Host, Options};

use crate::fault::{Outcome, Shown, ensure};
use crate::load::Allows;
use crate::site::Site;
use crate::system::with_mounts;
use crate::tally::Tally;
use crate::traffic::Mix;

/// Answers after each start.
const AFTER: u64 = 200;

pub(super) async fn full() -> Outcome {
    let dir = scratch()?;
    let under = with_mounts("mount -t tmpfs -o size=64k,mode=700 none \"$1\"", &[dir.path()])?;
    let site = Site::alone(|options| at(options, dir.path()).under(under)).await?;
    let tally = served(&site).await?;
    said(&site, "compiled code not kept", 1)?;
    let done = format!("64 KiB of disk for the code; told once; started in {}", started(&site));
    Ok(Shown { done, tally, normal_after: std::time::Duration::ZERO })
}

/// As [`full`], by a limit of the process's own: it comes with a signal.
pub(super) async fn limited() -> Outcome {
    let dir = scratch()?;
    let under = ["prlimit", "--fsize=1048576"];
    let site = Site::alone(|options| at(options, dir.path()).under(under)).await?;
    let tally = served(&site).await?;
    said(&site, "compiled code not kept", 1)?;
    let left = fs::read_dir(dir.path()).map_err(|error| error.to_string())?.count();
    ensure!(left == 0, "{left} files are left of what was not kept");
    let done = format!("files may not grow beyond a MiB (ulimit -f); started in {}", started(&site));
    Ok(Shown { done, tally, normal_after: std::time::Duration::ZERO })
}

pub(super) async fn read_only() -> Outcome {
    let home = scratch()?;
    let script = "mount -t tmpfs -o ro none \"$1\"; mount --bind /tmp /tmp; mount -o remount,bind,ro /tmp";
    let under = with_mounts(script, &[home.path()])?;
    let home_is = home.path().to_string_lossy().into_owned();
    let site =
        Site::alone(|options| options.without("--cache-dir").setting("home", &home_is).under(under)).await?;
    let tally = served(&site).await?;
    said(&site, "compiled code not kept", 1)?;
    let done = format!("HOME and /tmp read-only; told once; started in {}", started(&site));
    Ok(Shown { done, tally, normal_after: std::time::Duration::ZERO })
}

pub(super) async fn damaged() -> Outcome {
    let dir = scratch()?;
    let mut all = Tally::default();
    let whole = {
        let site = Site::alone(|options| at(options, dir.path())).await?;
        said(&site, "compiled code not", 0)?;
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
        let site = Site::alone(|options| at(options, dir.path())).await?;
        all.absorb(served(&site).await?);
        said(&site, "compiled code not used", 1)?;
        let mended = fs::read(&path).map_err(|error| error.to_string())?;
        ensure!(mended.len() == whole.len(), "{} was not made anew", path.display());
    }
    // And what was mended serves.
    let site = Site::alone(|options| at(options, dir.path())).await?;
    said(&site, "compiled code not", 0)?;
    let done = "cut, a bit flipped, lengthened, emptied, replaced: made anew each time".to_owned();
    Ok(Shown { done, tally: all, normal_after: std::time::Duration::ZERO })
}

fn scratch() -> Result<tempfile::TempDir, String> {
    tempfile::tempdir_in(e2e::harness::target()).map_err(|error| error.to_string())
}

fn at(options: Options, dir: &Path) -> Options {
    options.flag("--cache-dir", &dir.to_string_lossy())
}

/// The one file of code.
fn code(dir: &Path) -> Result<PathBuf, String> {
    let found = fs::read_dir(dir).map_err(|error| error.to_string())?.flatten().map(|entry| entry.path());
    let mut found = found.filter(|path| path.extension().is_some_and(|extension| extension == "cwasm"));
    found.next().ok_or_else(|| format!("no compiled code in {}", dir.display()))
}

async fn served(site: &Site) -> Result<Tally, String> {
    let (load, counted) = site.load(Mix::ALL, Allows::NOTHING).await?;
    load.more(AFTER).await?;
    let tally = load.finish().await;
    counted.all(site, &tally, 0).await?;
    if tally.degraded() > 0 {
        return Err(format!("answers are degraded: {tally:?}"));
    }
    Ok(tally)
}

/// The host's log says so, so often.
fn said(site: &Site, what: &str, times: usize) -> Result<(), String> {
    let lines = site.hosts.first().map(|host| host.log().lines()).unwrap_or_default();
    let said = lines.iter().filter(|line| line.text.contains(what)).count();
    if said == times { Ok(()) } else { Err(format!("{what:?} stands {said} times in the log, not {times}")) }
}

fn started(site: &Site) -> String {
    let started_in = site.hosts.first().map(Host::started_in).unwrap_or_default();
    format!("{:.1} s", started_in.as_secs_f64())
}
