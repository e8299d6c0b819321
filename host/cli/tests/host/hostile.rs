//! Hostile components: each test lets a component exceed a limit, and then expects an ordinary request to succeed.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use testkit::{
    Host, LogLine,
    paths::{guest, scratch},
    ports::listen,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{Fifo, serve_fails, start_app, start_guest};

/// The upper bound of resident memory in bytes: a host with one thread and a guest of 16 MiB needs less.
const MOST_RESIDENT: f64 = 1e9;

async fn start(flags: &[&str]) -> Host {
    start_guest("service", &[&["--threads", "1", "--max-memory", "16MiB"][..], flags].concat()).await
}

async fn answers(host: &Host) {
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
}

/// The guest's request fails by a trap or by its time limit, and the host's memory stays within its bound.
async fn is_stopped(host: &Host, path: &str) {
    let status = host.get(path).await.status;
    let stopped = [500, 504];
    assert!(stopped.contains(&status), "{path}: {status}");
    answers(host).await;
    let resident = host.metric("process_resident_memory_bytes").await;
    assert!(resident < MOST_RESIDENT, "{path}: {resident}");
}

#[tokio::test]
async fn handles_without_end_are_its_own_end() {
    let host = start(&[]).await;
    for kind in ["handles", "heavy-handles", "streams"] {
        is_stopped(&host, &format!("/hostile/{kind}")).await;
    }
}

/// The most resident memory of the host's process so far, in bytes.
pub(crate) fn peak_memory(host: &Host) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// The kinds of handles that the guest `hoard` keeps.
pub(crate) const HOARDS: [&str; 15] = [
    "methods",
    "authorities",
    "paths",
    "fields",
    "clones",
    "values",
    "texts",
    "trailers",
    "sent",
    "methods-0.2",
    "authorities-0.2",
    "paths-0.2",
    "fields-0.2",
    "bodies-0.2",
    "sent-0.2",
];

/// Each kind of handle at its heaviest. The guest may have 16 MiB, and so its handles may keep 32 MiB of the host.
#[tokio::test]
async fn bytes_behind_handles_of_every_kind_are_its_own_end() {
    const WANTED_MIB: u64 = 512;
    const MOST: u64 = 128 << 20;
    let (silent, address) = listen().await;
    let host = start(&["--allowed-outbound-host", &format!("http://{address}")]).await;
    answers(&host).await;
    let before = peak_memory(&host);
    for kind in HOARDS {
        let answer = host.get(&format!("/hostile/hoard?{kind}/{WANTED_MIB}/{address}")).await;
        let taken = peak_memory(&host) - before;
        assert!(taken < MOST, "{kind}: {} MiB, {} {}", taken >> 20, answer.status, answer.text());
        answers(&host).await;
        // Compare-and-swap tells the guest that its handles keep too much. Of an error, the host keeps the start.
        let expected = if ["values", "texts", "trailers"].contains(&kind) { 200 } else { 500 };
        assert_eq!(answer.status, expected, "{kind}: {}", answer.text());
    }
    assert_eq!(host.metric("wasi_http_host_handle_memory_refused_total").await, 12.0);
    drop(silent);
}

#[tokio::test]
async fn tasks_without_end_are_its_own_end() {
    let host = start(&["--request-timeout", "3s", "--background-timeout", "1s"]).await;
    is_stopped(&host, "/hostile/sleepers").await;
}

#[tokio::test]
async fn recursion_without_end_a_panic_and_an_exit_cost_their_own_request() {
    let mut host = start(&[]).await;
    for path in ["/hostile/recursion", "/hostile/panic", "/hostile/exit?0", "/hostile/exit?1"] {
        is_stopped(&host, path).await;
    }
    let line = host.wait_for_line(|line| line["kind"] == "call stack exhausted").await;
    assert_eq!(line["message"], "an instance trapped and was discarded");
    assert!(host.is_running());
}

#[tokio::test]
async fn header_fields_have_a_bound() {
    let host = start(&[]).await;
    let answer = host.get("/hostile/fields").await;
    // Each field has a kilobyte.
    let added: usize = answer.text().parse().unwrap();
    assert!((1..100).contains(&added), "{added}");
}

#[tokio::test]
async fn a_header_cannot_be_split_and_the_connections_own_are_not_its() {
    let host = start(&[]).await;
    for field in ["x=aCRLFset-cookie:b", "x=aLFb", "x=aNULb", "xSPy=a", "x:y=a"] {
        let answer = host.get(&format!("/hostile/field?{field}")).await;
        assert!(answer.text().starts_with("Err("), "{field}: {}", answer.text());
    }
    for name in [
        "transfer-encoding",
        "Connection",
        "host",
        "upgrade",
        "keep-alive",
        "proxy-authorization",
        "http2-settings",
    ] {
        let answer = host.get(&format!("/hostile/field?{name}=x")).await;
        assert!(answer.text().contains("Forbidden"), "{name}: {}", answer.text());
    }
    assert_eq!(host.get("/hostile/field?x-harmless=a").await.text(), "Ok(())");
}

#[tokio::test]
async fn randomness_and_questions_come_in_bounded_pieces() {
    let host = start(&[]).await;
    let length: usize = host.get(&format!("/hostile/random?{}", u64::MAX)).await.text().parse().unwrap();
    assert!((1..=1 << 20).contains(&length), "{length}");
    assert_eq!(host.get("/hostile/question?4000000").await.text(), "Ok(None)");
    answers(&host).await;
}

#[tokio::test]
async fn sockets_are_denied() {
    let (listener, address) = listen().await;
    let host = start(&[]).await;
    for path in [format!("connect?{address}"), "listen".into(), "datagram".into(), "resolve?localhost".into()]
    {
        let answer = host.get(&format!("/hostile/{path}")).await;
        assert!(answer.text().starts_with("refused "), "{path}: {}", answer.text());
    }
    let nobody = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(nobody.is_err(), "a connection was made");
}

fn manifest(directory: &Path, rest: &str) -> PathBuf {
    manifest_of("service", directory, rest)
}

fn manifest_of(kind: &str, directory: &Path, rest: &str) -> PathBuf {
    let path = directory.join("spin.toml");
    let text = format!(
        "spin_manifest_version = 2\n[application]\nname = \"hostile\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"hostile\"\n\
         [component.hostile]\nsource = {:?}\nkey_value_stores = [\"default\"]\n{rest}\n",
        guest(kind)
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn of_the_file_system_it_sees_what_is_mounted_and_cannot_leave_or_change_it() {
    let directory = scratch("hostile-files");
    let mounted = directory.join("mounted");
    std::fs::create_dir(&mounted).unwrap();
    std::fs::write(mounted.join("inside"), "seen").unwrap();
    std::fs::write(directory.join("secret"), "hidden").unwrap();
    std::os::unix::fs::symlink(directory.join("secret"), mounted.join("absolute")).unwrap();
    std::os::unix::fs::symlink("../secret", mounted.join("relative")).unwrap();
    std::os::unix::fs::symlink("..", mounted.join("up")).unwrap();
    let app = manifest(&directory, "files = [{ source = \"mounted\", destination = \"/data\" }]");
    let host = start_app(&app, &[], &[]).await;
    assert_eq!(host.get("/hostile/read?/data/inside").await.text(), r#"got "seen""#);
    let outside = directory.join("secret");
    for path in [
        "/data/absolute",
        "/data/relative",
        "/data/../secret",
        "/data/up/secret",
        "/data/./up/../../secret",
        outside.to_str().unwrap(),
        "/etc/passwd",
        "/proc/self/environ",
        "secret",
    ] {
        let answer = host.get(&format!("/hostile/read?{path}")).await;
        assert!(answer.text().starts_with("refused "), "{path}: {}", answer.text());
    }
    for path in ["/data/new", "/data/inside", "/data/relative", "/tmp/new"] {
        let answer = host.get(&format!("/hostile/write?{path}")).await;
        assert!(answer.text().starts_with("refused "), "{path}: {}", answer.text());
    }
    assert_eq!(std::fs::read_to_string(mounted.join("inside")).unwrap(), "seen");
    assert_eq!(std::fs::read_dir(&mounted).unwrap().count(), 4, "no file was created");
    assert_eq!(std::fs::read_to_string(outside).unwrap(), "hidden");
}

#[tokio::test]
async fn of_the_environment_it_sees_what_its_manifest_says() {
    let app = manifest(&scratch("hostile-environment"), "environment = { GIVEN = \"yes\" }");
    let host =
        start_app(&app, &[], &[("HIDDEN", "s3cret"), ("WASI_HTTP_HOST_REDIS_PASSWORD", "s3cret")]).await;
    assert_eq!(host.get("/hostile/environment").await.text(), r#"[("GIVEN", "yes")] []"#);
    assert_eq!(host.get("/config/hidden").await.text(), "Ok(None)");
}

/// What lies elsewhere, or would block a thread of the host, cannot be mounted.
#[test]
fn of_the_file_system_nothing_is_mounted_but_files_below_the_manifest() {
    let directory = scratch("hostile-mounts");
    std::fs::create_dir(directory.join("assets")).unwrap();
    std::os::unix::fs::symlink("/proc/self", directory.join("link")).unwrap();
    Fifo::new(&directory.join("assets/pipe"));
    for (source, named) in [
        ("/proc/self", "component.hostile.files[0].source: only a directory below the manifest's directory"),
        ("../..", "component.hostile.files[0].source: only a directory below the manifest's directory"),
        ("link", "out of the manifest's directory"),
        ("assets", "assets/pipe: it is neither a regular file nor a directory"),
    ] {
        let app =
            manifest(&directory, &format!("files = [{{ source = {source:?}, destination = \"/data\" }}]"));
        let message = serve_fails(1, &[app.to_str().unwrap()], &[]);
        assert!(message.contains(named), "{source}: {message}");
    }
}

/// Its variables cannot name what the host reads for itself: the host would hand over its own secrets.
#[test]
fn of_the_host_s_own_variables_it_reads_none() {
    let directory = scratch("hostile-variables");
    for name in ["wasi_http_host_redis_password", "https_proxy", "otel_exporter_otlp_headers"] {
        let rest = format!(
            "[variables]\n{name} = {{ required = true }}\n[component.hostile.variables]\nstolen = \"{{{{ {name} }}}}\""
        );
        let variable = name.to_ascii_uppercase();
        let app = manifest(&directory, &rest);
        let app = app.to_str().unwrap();
        let message = serve_fails(1, &[app], &[(&variable, "s3cret")]);
        let refused = format!("spin.toml:11: variables.{name}: no variable may have the name {name}");
        assert!(message.contains(&refused) && !message.contains("s3cret"), "{message}");
        let bare = guest("service");
        let message = serve_fails(64, &[bare.to_str().unwrap(), "--var", name], &[(&variable, "s3cret")]);
        assert!(message.contains(&format!("because the host reads {variable}")), "{message}");
    }
}

#[tokio::test]
async fn a_flood_of_keys_stays_within_the_stores_bytes() {
    let host = start(&["--keyvalue-max-bytes", "1MiB"]).await;
    // 20 MB in all.
    let answer = host.get("/hostile/keys?20000").await;
    assert!(answer.text().parse::<u32>().is_ok(), "{}", answer.text());
    host.wait_for_metric("wasi_http_host_keyvalue_memory_bytes", |bytes| bytes <= f64::from(2 << 20)).await;
    assert_eq!(host.get("/hostile/large-key").await.text(), "false");
    answers(&host).await;
}

#[tokio::test]
async fn a_value_that_is_too_large_is_refused() {
    let host = start_guest("service", &["--keyvalue-max-bytes", "64MiB"]).await;
    assert_eq!(host.get("/hostile/large-value").await.text(), "false");
    answers(&host).await;
}

/// An upstream that keeps each byte that it receives.
async fn upstream() -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let (upstream, address) = listen().await;
    let sent = Arc::new(Mutex::new(Vec::new()));
    let seen = sent.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = upstream.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut bytes).await {
                    let whole = {
                        let mut seen = seen.lock().unwrap();
                        seen.extend_from_slice(&bytes[..length]);
                        seen.ends_with(b"hello")
                    };
                    if whole {
                        let _ = stream.write(b"HTTP/1.1 204 No Content\r\n\r\n").await;
                    }
                }
            });
        }
    });
    (address, sent)
}

#[tokio::test]
async fn a_request_behind_a_request_is_not_sent() {
    let (address, sent) = upstream().await;
    let host = start(&["--allowed-outbound-host", &format!("http://{address}")]).await;
    assert_eq!(host.get(&format!("/hostile/post?{address}")).await.text(), "status 204");
    // The response does not matter.
    host.get(&format!("/hostile/smuggle?{address}")).await;
    assert_eq!(host.get(&format!("/hostile/post?{address}")).await.text(), "status 204");
    let sent = String::from_utf8_lossy(&sent.lock().unwrap()).into_owned();
    assert!(sent.contains("content-length: 5\r\n") && sent.ends_with("\r\n\r\nhello"), "{sent}");
    assert!(!sent.contains("smuggled"), "{sent}");
}

#[tokio::test]
async fn denials_without_end_do_not_fill_the_log() {
    const DENIED: usize = 3000;
    let host = start(&["--request-timeout", "60s"]).await;
    let begun = Instant::now();
    let answer = host.get(&format!("/hostile/denied?{DENIED}/169.254.169.254")).await;
    assert_eq!(answer.text(), DENIED.to_string());
    host.wait_for_line(|line| line["message"] == "outbound request denied").await;
    let lines = host.lines().iter().filter(|line| line["message"] == "outbound request denied").count();
    let periods = usize::try_from(begun.elapsed().as_secs()).unwrap() / 5 + 2;
    assert!(lines <= 50 * periods, "{lines} lines in {periods} periods");
    let metrics = host.admin("/metrics").await;
    let counted =
        metrics.text().lines().find(|line| line.starts_with("wasi_http_host_outbound_denied_total"));
    assert!(counted.is_some_and(|line| line.ends_with(&format!(" {DENIED}"))), "{counted:?}");
}

#[tokio::test]
async fn traps_without_end_do_not_fill_the_log() {
    const TRAPS: usize = 200;
    let host = start(&[]).await;
    let begun = Instant::now();
    for _ in 0..TRAPS {
        assert_eq!(host.get("/trap").await.status, 500);
    }
    let trapped = |line: &&LogLine| line["message"] == "an instance trapped and was discarded";
    let lines = host.lines();
    let told: Vec<_> = lines.iter().filter(trapped).collect();
    let whole = told.iter().filter(|line| line["backtrace"].is_string()).count();
    let periods = usize::try_from(begun.elapsed().as_secs()).unwrap() / 5 + 2;
    assert!((1..=50 * periods).contains(&whole), "{whole} backtraces in {periods} periods");
}

#[tokio::test]
async fn errors_with_long_texts_do_not_fill_the_log() {
    const ERRORS: usize = 200;
    let host = start(&[]).await;
    let begun = Instant::now();
    for _ in 0..ERRORS {
        // The guest's error has a text of 3 MiB.
        assert_eq!(host.get("/error/long").await.status, 500);
    }
    host.get("/hello/after").await;
    host.wait_for_line(|line| line["path"] == "/hello/after").await;
    let lines = host.lines();
    let failed: Vec<_> = lines.iter().filter(|line| line["message"] == "a request failed").collect();
    let periods = usize::try_from(begun.elapsed().as_secs()).unwrap() / 5 + 2;
    assert!((1..=50 * periods).contains(&failed.len()), "{} lines in {periods} periods", failed.len());
    for line in &failed {
        let error = line["error"].as_str().unwrap();
        assert!(error.contains("InternalError") && error.ends_with('…') && error.len() < 5 << 10, "{line}");
    }
    // The access log has each request.
    let requests = lines.iter().filter(|line| line["path"] == "/error/long").count();
    assert_eq!(requests, ERRORS);
    assert_eq!(host.metric("wasi_http_host_log_lines_dropped_total").await, 0.0);
}

/// A hostile component and a neighbour, which reads `inside`, on one thread. Both mount a directory with this many
/// entries.
async fn start_mounting(name: &str, kind: &str, entries: usize) -> Host {
    let directory = scratch(name);
    let mounted = directory.join("mounted");
    std::fs::create_dir(&mounted).unwrap();
    std::fs::write(mounted.join("inside"), "seen").unwrap();
    for at in 1..entries {
        std::fs::write(mounted.join(format!("{at:0200}")), "").unwrap();
    }
    let files = "files = [{ source = \"mounted\", destination = \"/data\" }]";
    let neighbour = format!(
        "[[trigger.http]]\nroute = \"/hostile/read\"\ncomponent = \"neighbour\"\n\
         [component.neighbour]\nsource = {:?}\n{files}",
        guest("service")
    );
    let app = manifest_of(kind, &directory, &format!("{files}\n{neighbour}"));
    let flags = ["--threads", "1", "--request-timeout", "10s"];
    start_app(&app, &flags, &[]).await
}

async fn neighbour_reads(host: &Host) {
    assert_eq!(host.get("/hostile/read?/data/inside").await.text(), r#"got "seen""#);
}

/// The number at the beginning of an answer, and the rest.
fn counted(text: &str) -> (usize, &str) {
    let (number, rest) = text.split_once(' ').unwrap();
    (number.parse().unwrap(), rest)
}

/// The runtime of a thread has 512 threads for calls that block.
#[tokio::test]
async fn listings_that_nobody_reads_hold_no_threads_and_have_a_bound() {
    let host = start_mounting("hostile-listings", "service", 300).await;
    assert_eq!(host.get("/files/listings?1").await.text(), "300 Ok(())");
    assert_eq!(host.get("/files/listings?600").await.text(), "0 Err(ErrorCode::InsufficientMemory)");
    neighbour_reads(&host).await;
    // Nor do calls with long paths wait for a thread.
    let answer = host.get("/files/stats?16/1000000").await;
    assert_eq!(answer.text(), r#"{"ErrorCode::NameTooLong": 16}"#);
}

#[tokio::test]
async fn calls_on_files_wait_for_each_other_within_the_budget_of_the_instance() {
    let host = start_mounting("hostile-calls", "service", 1).await;
    assert_eq!(host.get("/files/stats?2000/200").await.text(), r#"{"ErrorCode::NoEntry": 2000}"#);
    // 80 MB wait, and the budget is 64 MiB.
    assert_eq!(host.get("/files/renames?10000/4000").await.status, 500);
    assert_eq!(host.metric("wasi_http_host_handle_memory_refused_total").await, 1.0);
    neighbour_reads(&host).await;
}

#[tokio::test]
async fn open_files_have_a_bound_for_each_component() {
    const MOST: usize = 1024;
    for (at, (kind, path, refusal)) in [
        ("service", "/files/descriptors?4000/inside", "ErrorCode::InsufficientMemory"),
        ("service", "/files/streams-of-files?4000/inside", "Err(ErrorCode::InsufficientMemory)"),
        ("proxy", "/descriptors/4000?inside", "insufficient-memory"),
    ]
    .into_iter()
    .enumerate()
    {
        let host = start_mounting(&format!("hostile-open-files-{at}"), kind, 1).await;
        let answer = host.get(path).await;
        let (opened, error) = counted(answer.text());
        assert!((100..=MOST).contains(&opened), "{path}: {}", answer.text());
        assert_eq!(error, refusal, "{path}");
        let open = host.metric("process_open_fds").await;
        assert!(open < (MOST + 200) as f64, "{path}: {open}");
        neighbour_reads(&host).await;
        // They are closed with their instance.
        if kind == "proxy" {
            assert_eq!(counted(host.get(path).await.text()).0, opened);
        }
    }
}

/// Each listing of `0.2` kept the whole directory.
#[tokio::test]
async fn listings_of_a_large_directory_keep_a_part_of_it() {
    const MOST: u64 = 64 << 20;
    let host = start_mounting("hostile-large-directory", "proxy", 2000).await;
    assert_eq!(host.get("/count-entries").await.text(), "2000 Ok(true)");
    let before = peak_memory(&host);
    for _ in 0..2 {
        let answer = host.get("/listings/4000").await;
        let (opened, error) = counted(answer.text());
        assert!((1..=128).contains(&opened) && error == "insufficient-memory", "{}", answer.text());
    }
    let taken = peak_memory(&host) - before;
    assert!(taken < MOST, "{} MiB", taken >> 20);
    neighbour_reads(&host).await;
}
