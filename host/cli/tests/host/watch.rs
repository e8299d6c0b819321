//! Reloads: a changed application is served without a restart and without a lost request.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use nix::sys::signal::Signal;
use testkit::{
    HostProcess, LogLine,
    paths::{guest, scratch},
};

use crate::harness::{Fifo, serving, start_app};

const DONE: &str = "wasi_http_host_reloads_total{outcome=\"done\"}";
const FAILED: &str = "wasi_http_host_reloads_total{outcome=\"failed\"}";

/// A manifest and a copy of the component beside it. The setting `greeting` tells versions apart.
fn application(test: &str, greeting: &str) -> (PathBuf, PathBuf) {
    let dir = scratch(test);
    let wasm = dir.join("app.wasm");
    std::fs::copy(guest("service"), &wasm).unwrap();
    let manifest = dir.join("spin.toml");
    greet(&manifest, greeting);
    (manifest, wasm)
}

fn greet(manifest: &Path, greeting: &str) {
    let text = format!(
        "spin_manifest_version = 2\n[application]\nname = \"app\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"c\"\n\
         [component.c]\nsource = \"app.wasm\"\n[component.c.variables]\ngreeting = {greeting:?}\n"
    );
    std::fs::write(manifest, text).unwrap();
}

fn is_reloaded(line: &LogLine) -> bool {
    line.get("message").is_some_and(|message| message.ends_with("changed: reloaded"))
}

fn is_refused(line: &LogLine) -> bool {
    line.message_contains("the host still serves the previous state")
}

#[tokio::test]
async fn a_changed_manifest_is_served_and_no_request_under_load_is_lost() {
    let (manifest, _) = application("watch-load", "old");
    let host = Arc::new(start_app(&manifest, &["--watch"], &[]).await);
    let (stop, olds) = (Arc::new(AtomicBool::new(false)), Arc::<AtomicU64>::default());
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (host, stop, olds) = (host.clone(), stop.clone(), olds.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = host.get("/config/greeting").await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    match answer.text() {
                        r#"Ok(Some("new"))"# => {}
                        other => {
                            assert_eq!(other, r#"Ok(Some("old"))"#);
                            olds.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            })
        })
        .collect();
    while olds.load(Ordering::Relaxed) < 20 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    greet(&manifest, "new");
    host.wait_for_metric(DONE, |done| done == 1.0).await;
    assert_eq!(host.get("/config/greeting").await.text(), r#"Ok(Some("new"))"#);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(host.metric(FAILED).await, 0.0);
    host.wait_for_metric("wasi_http_host_requests_active", |active| active == 0.0).await;
}

#[tokio::test]
async fn a_request_that_runs_when_the_application_changes_ends_in_the_old_one() {
    let (manifest, wasm) = application("watch-running", "old");
    let host = start_app(&manifest, &["--watch", "--threads", "1"], &[]).await;
    let (slept, ()) = tokio::join!(host.get("/sleep/3000"), async {
        host.wait_for_metric("wasi_http_host_requests_active", |active| active == 1.0).await;
        // As build tools do: another file takes the name.
        let other = wasm.with_extension("new");
        std::fs::copy(guest("proxy"), &other).unwrap();
        std::fs::rename(&other, &wasm).unwrap();
        host.wait_for_metric(DONE, |done| done == 1.0).await;
        assert_eq!(host.get("/chunks/1").await.text(), "chunk\n", "the new application serves meanwhile");
    });
    assert_eq!((slept.status, slept.text()), (200, "slept"));
    // The old instance ends once its request is finished.
    host.wait_for_metric("wasi_http_host_instances_ended_total{component=\"c\",reason=\"finished\"}", |n| {
        n >= 1.0
    })
    .await;
}

#[tokio::test]
async fn what_is_broken_is_reported_and_the_old_one_goes_on() {
    let (manifest, wasm) = application("watch-broken", "old");
    let host = start_app(&manifest, &["--watch"], &[]).await;
    // The file is written in place, and is incomplete.
    let whole = std::fs::read(&wasm).unwrap();
    std::fs::write(&wasm, &whole[..whole.len() / 2]).unwrap();
    let line = host.wait_for_line(is_refused).await;
    assert!(line["error"].as_str().unwrap().contains("component \"c\""), "{line}");
    assert_eq!(host.get("/config/greeting").await.text(), r#"Ok(Some("old"))"#);
    assert!(host.metric(FAILED).await >= 1.0);
    // For a manifest, the message names the file and the line.
    std::fs::write(&wasm, &whole).unwrap();
    std::fs::write(&manifest, "spin_manifest_version = 3\n").unwrap();
    let line = host
        .wait_for_line(|line| is_refused(line) && line["error"].to_string().contains("spin.toml:1"))
        .await;
    assert!(line["error"].as_str().unwrap().contains("only version 2"), "{line}");
    assert_eq!(host.get("/config/greeting").await.text(), r#"Ok(Some("old"))"#);
    greet(&manifest, "repaired");
    host.wait_for_line(is_reloaded).await;
    assert_eq!(host.get("/config/greeting").await.text(), r#"Ok(Some("repaired"))"#);
}

#[tokio::test]
async fn sighup_reloads_once_without_watching() {
    let (manifest, _) = application("watch-signal", "old");
    let host = start_app(&manifest, &[], &[]).await;
    greet(&manifest, "new");
    assert_eq!(host.get("/config/greeting").await.text(), r#"Ok(Some("old"))"#);
    host.signal(Signal::SIGHUP);
    host.wait_for_line(is_reloaded).await;
    assert_eq!(host.get("/config/greeting").await.text(), r#"Ok(Some("new"))"#);
}

#[tokio::test]
async fn a_component_may_come_and_go() {
    let (manifest, _) = application("watch-more", "old");
    let host = start_app(&manifest, &["--watch", "--threads", "1"], &[]).await;
    let one = std::fs::read_to_string(&manifest).unwrap();
    let two = format!(
        "{one}\n[[trigger.http]]\nroute = \"/chunks/...\"\ncomponent = \"old\"\n[component.old]\nsource = {:?}\n",
        guest("proxy")
    );
    std::fs::write(&manifest, two).unwrap();
    host.wait_for_metric(DONE, |done| done == 1.0).await;
    assert_eq!(host.get("/chunks/1").await.text(), "chunk\n");
    assert_eq!(host.get("/served").await.text(), "1");
    std::fs::write(&manifest, one).unwrap();
    host.wait_for_metric(DONE, |done| done == 2.0).await;
    assert_eq!(host.get("/chunks/1").await.text(), "chunk 0\n", "served by the other component again");
    assert_eq!(host.get("/served").await.text().parse::<u32>().unwrap(), 3, "the instance was not replaced");
}

#[tokio::test]
async fn what_did_not_start_at_first_is_ready_once_it_is_mended() {
    let (manifest, _) = application("watch-mended", "mended");
    let mended = std::fs::read_to_string(&manifest).unwrap();
    let starved = format!("{mended}[component.c.tool.wasi-http-host]\nmax-memory = \"64KiB\"\n");
    std::fs::write(&manifest, starved).unwrap();
    let host = serving(&manifest).flags(&["--watch"]).start_unready().await;
    host.wait_for_line(|line| line["message"] == "cannot create an instance").await;
    let answer = host.admin("/ready").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    std::fs::write(&manifest, mended).unwrap();
    host.wait_for_line(|line| line["message"] == "ready").await;
    assert_eq!(host.admin("/ready").await.status, 200);
    assert_eq!(host.get("/config/greeting").await.text(), r#"Ok(Some("mended"))"#);
}

#[tokio::test]
async fn what_failed_for_a_reason_that_passes_is_tried_again_without_another_change() {
    let (manifest, _) = application("watch-passing", "old");
    let settings = manifest.with_file_name("settings");
    std::fs::create_dir(&settings).unwrap();
    // The host does not poll the settings directory here.
    let flags = ["--watch", "--settings-poll", "0", "--settings-dir", settings.to_str().unwrap()];
    let host = start_app(&manifest, &flags, &[]).await;
    std::fs::remove_dir(&settings).unwrap();
    greet(&manifest, "new");
    let line = host.wait_for_line(is_refused).await;
    assert!(line["error"].as_str().unwrap().contains("settings"), "{line}");
    std::fs::create_dir(&settings).unwrap();
    host.wait_for_line(is_reloaded).await;
    assert_eq!(host.get("/config/greeting").await.text(), r#"Ok(Some("new"))"#);
    assert_eq!(host.metric(FAILED).await, 1.0, "the failure is counted once for all attempts");
}

#[tokio::test]
async fn what_changes_while_the_host_starts_is_served_too() {
    let (manifest, wasm) = application("watch-starting", "old");
    std::fs::remove_file(&wasm).unwrap();
    let fifo = Fifo::new(&wasm);
    let host = serving(&manifest).flags(&["--watch"]).spawn();
    // The host has read the manifest, and reads the component now.
    let pipe = fifo.wait_for_reader();
    serves_what_changes_now(host, pipe, &manifest, &wasm).await;
}

/// Changes the application of a host that is starting and reads its component from `pipe`. Once the host is ready, it must serve the
/// changed application.
async fn serves_what_changes_now(host: HostProcess, mut pipe: File, manifest: &Path, wasm: &Path) {
    greet(manifest, "new");
    let other = wasm.with_extension("new");
    std::fs::copy(guest("service"), &other).unwrap();
    std::fs::rename(&other, wasm).unwrap();
    pipe.write_all(&std::fs::read(wasm).unwrap()).unwrap();
    drop(pipe);
    let host = host.listening().await;
    host.wait_for_line(is_reloaded).await;
    assert_eq!(host.get("/config/greeting").await.text(), r#"Ok(Some("new"))"#);
}

#[tokio::test]
async fn sighup_while_the_host_starts_is_a_reload_after_it() {
    let (manifest, wasm) = application("watch-early-signal", "old");
    std::fs::remove_file(&wasm).unwrap();
    let fifo = Fifo::new(&wasm);
    let host = serving(&manifest).spawn();
    let pipe = fifo.wait_for_reader();
    host.signal(Signal::SIGHUP);
    serves_what_changes_now(host, pipe, &manifest, &wasm).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_to_its_end_holds_up_neither_probes_nor_the_end() {
    let (manifest, _) = application("watch-hanging", "old");
    let mut host = start_app(&manifest, &["--watch"], &[]).await;
    std::fs::remove_file(&manifest).unwrap();
    let fifo = Fifo::new(&manifest);
    let _unwritten = fifo.wait_for_reader();
    assert_eq!(host.admin("/live").await.status, 200);
    assert_eq!(host.get("/config/greeting").await.text(), r#"Ok(Some("old"))"#);
    host.signal(Signal::SIGTERM);
    assert_eq!(host.ended().await.code(), Some(0));
}
