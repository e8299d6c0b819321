//! The store in a file, as a crash, a full disk, a second process and a corrupt file meet it.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nix::{sys::signal::Signal, unistd::geteuid};
use testkit::{
    Host, HostOptions, Samples,
    http::{Request, blocking},
    paths::{guest, scratch},
    until,
};

use crate::harness::{run, serving};

/// How often the host is killed.
const KILLS: u32 = 200;
/// The longest time under load before a kill, in milliseconds.
const MAX_LOAD_MS: u64 = 150;
/// Connections that write at once.
const WRITERS: usize = 2;
/// Keys that each of them writes in turn.
const VALUES: u64 = 8;

fn options(store: &Path) -> HostOptions {
    let store = format!("default=file:{}", store.display());
    serving(&guest("service")).flag("--keyvalue-store", &store).flag("--keyvalue-max-bytes", "16MiB")
}

async fn serve(store: &Path) -> Host {
    options(store).start().await
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A connection to the host. Its functions return `None` once the host is gone.
struct Client(blocking::Connection);

impl Client {
    fn connect(address: SocketAddr) -> Option<Self> {
        Some(Self(blocking::Client::http(address, "host").connect().ok()?))
    }

    fn get(&mut self, path: &str) -> Option<String> {
        Some(self.0.send(&Request::get(path)).ok()?.is(200).text().to_owned())
    }

    fn metric(&mut self, name: &str) -> Option<f64> {
        Some(Samples::parse(&self.get("/metrics")?).sum(name, &[]))
    }

    /// The time up to which everything that was acknowledged is in the file, as the host says.
    fn durable_ms(&mut self) -> Option<u64> {
        let seconds = self.metric("wasi_http_host_keyvalue_file_durable_timestamp_seconds")?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time since 1970")]
        Some((seconds * 1e3).round() as u64)
    }
}

/// The value of the key in its `n`th write: long enough to have a middle that could be missing.
fn value(n: u64) -> String {
    format!("{n}.").repeat(200)
}

/// What one writer has done to one key in a round: the last write sent, and the acknowledged ones with their times.
#[derive(Default)]
struct Written {
    sent: u64,
    acknowledged: Vec<(u64, u64)>,
}

impl Written {
    /// The last write that is in the file for certain.
    fn durable(&self, durable_ms: u64) -> Option<u64> {
        self.acknowledged.iter().rev().find(|(_, at_ms)| *at_ms < durable_ms).map(|(n, _)| *n)
    }
}

/// Counts and writes until the host is gone. `first` is the number of each key's next write.
fn write_until_killed(
    address: SocketAddr,
    writer: usize,
    first: &BTreeMap<String, u64>,
) -> BTreeMap<String, Written> {
    let mut done: BTreeMap<String, Written> = BTreeMap::new();
    let Some(mut client) = Client::connect(address) else { return done };
    for step in 0.. {
        let counter = format!("counter{writer}");
        let sum = first.get(&counter).copied().unwrap_or(0) + step + 1;
        let written = done.entry(counter.clone()).or_default();
        written.sent = sum;
        let Some(answer) = client.get(&format!("/keyvalue/increment/default/{counter}?1")) else { break };
        assert_eq!(answer, format!("Ok({sum})"), "the counter is exact");
        written.acknowledged.push((sum, now_ms()));

        let key = format!("value{writer}-{}", step % VALUES);
        let n = first.get(&key).copied().unwrap_or(0) + step / VALUES + 1;
        let written = done.entry(key.clone()).or_default();
        written.sent = n;
        let Some(answer) = client.get(&format!("/keyvalue/set/default/{key}?{}", value(n))) else { break };
        assert_eq!(answer, "Ok(())");
        written.acknowledged.push((n, now_ms()));
    }
    done
}

/// Writes for so long, then kills the host. Returns what was written, and up to which time the host said that it was durable.
fn kill_under_load(
    host: Host,
    found: &BTreeMap<String, u64>,
    load: Duration,
) -> (BTreeMap<String, Written>, u64) {
    let (durable_ms, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let written: Mutex<BTreeMap<String, Written>> = Mutex::default();
    let (address, admin) = (host.address(), host.admin_address());
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let written = &written;
            scope.spawn(move || {
                let done = write_until_killed(address, writer, found);
                written.lock().unwrap().extend(done);
            });
        }
        scope.spawn(|| {
            let Some(mut client) = Client::connect(admin) else { return };
            while let Some(seen_ms) = client.durable_ms() {
                durable_ms.store(seen_ms, Ordering::SeqCst);
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                thread::sleep(Duration::from_millis(3));
            }
        });
        thread::sleep(load);
        // Kills it: see `Host`.
        drop(host);
        is_over.store(true, Ordering::SeqCst);
    });
    (written.into_inner().unwrap(), durable_ms.into_inner())
}

/// What is in the store: numbers of writes by key. Each value is whole.
fn read_all(host: &Host) -> BTreeMap<String, u64> {
    let mut client = Client::connect(host.address()).unwrap();
    let mut found = BTreeMap::new();
    for writer in 0..WRITERS {
        let counter = format!("counter{writer}");
        let answer = client.get(&format!("/keyvalue/increment/default/{counter}?0")).unwrap();
        let sum = answer.strip_prefix("Ok(").and_then(|rest| rest.strip_suffix(')')?.parse().ok());
        found.insert(counter, sum.unwrap_or_else(|| panic!("{answer}")));
        for at in 0..VALUES {
            let key = format!("value{writer}-{at}");
            let answer = client.get(&format!("/keyvalue/get/default/{key}")).unwrap();
            let text = answer.strip_prefix("Ok(Some(\"").and_then(|rest| rest.strip_suffix("\"))"));
            let Some(text) = text else {
                assert_eq!(answer, "Ok(None)");
                continue;
            };
            let n = text.split('.').next().unwrap().parse().unwrap();
            assert_eq!(text, value(n), "{key} is whole");
            found.insert(key, n);
        }
    }
    found
}

/// `splitmix64` (Steele, Lea, Flood 2014).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Set `FILE_STORE_SEED` to repeat the moments of an earlier run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_moment_loses_nothing_that_was_durable() {
    let seed = std::env::var("FILE_STORE_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let mut state = seed.unwrap_or_else(now_ms);
    println!("FILE_STORE_SEED={state}");
    let store = scratch("file-store-kills").join("store");
    let (begun, mut durable_writes) = (Instant::now(), 0);
    let mut host = serve(&store).await;
    let mut found = read_all(&host);
    for kill in 0..KILLS {
        let load = Duration::from_millis(random(&mut state) % MAX_LOAD_MS);
        let (written, durable_ms) = kill_under_load(host, &found, load);
        host = serve(&store).await;
        let after = read_all(&host);
        for (key, written) in written {
            let least = written.durable(durable_ms);
            durable_writes += usize::from(least.is_some());
            let least = least.or(found.get(&key).copied()).unwrap_or(0);
            let seen = after.get(&key).copied().unwrap_or(0);
            assert!(
                (least..=written.sent).contains(&seen),
                "kill {kill}: {key} is {seen}, durable was {least}, sent {}",
                written.sent
            );
        }
        found = after;
    }
    println!(
        "{KILLS} kills in {:?}; {durable_writes} keys with a durable write of the round",
        begun.elapsed()
    );
    assert!(durable_writes > KILLS as usize, "the rounds were too short to show anything");
}

/// Writes more than there is room for, then makes room. `lift` gets the host's process.
async fn goes_on_in_memory_until_there_is_room(
    store: &Path,
    host: Host,
    limit: impl Fn(u32),
    lift: impl Fn(u32),
) {
    let mut client = Client::connect(host.address()).unwrap();
    let mut admin = Client::connect(host.admin_address()).unwrap();
    assert_eq!(client.get("/keyvalue/set/default/before?v").unwrap(), "Ok(())");
    let written_ms = now_ms();
    until("the first write is durable", async || (admin.durable_ms()? > written_ms).then_some(())).await;
    limit(host.pid());
    let large = "x".repeat(4000);
    for n in 0..1500 {
        assert_eq!(client.get(&format!("/keyvalue/set/default/key{n}?{large}")).unwrap(), "Ok(())");
        let count = client.get("/keyvalue/increment/default/count?1").unwrap();
        assert_eq!(count, format!("Ok({})", n + 1));
    }
    let failures = "wasi_http_host_keyvalue_file_flush_failures_total";
    until("two flushes fail", async || (admin.metric(failures)? >= 2.0).then_some(())).await;
    let told = |line: &testkit::LogLine| line.message_contains("cannot write the key-value store's file");
    host.wait_for_line(told).await;
    assert_eq!(host.lines().iter().filter(|line| told(line)).count(), 1, "not once an attempt");
    assert_eq!(client.get("/keyvalue/get/default/key0").unwrap(), format!("Ok(Some({large:?}))"));

    let lifted_ms = now_ms();
    lift(host.pid());
    until("all is durable", async || (admin.durable_ms()? > lifted_ms).then_some(())).await;
    host.wait_for_line(|line| line.message_contains("file can be written again")).await;
    // What a crash would leave now. The file may be in a mount of the host's own.
    let copy = scratch("file-store-copies").join(store.file_name().unwrap());
    fs::copy(format!("/proc/{}/root{}", host.pid(), store.display()), &copy).unwrap();
    drop(host);
    let host = serve(&copy).await;
    let mut client = Client::connect(host.address()).unwrap();
    assert_eq!(client.get("/keyvalue/get/default/before").unwrap(), "Ok(Some(\"v\"))");
    assert_eq!(client.get("/keyvalue/increment/default/count?0").unwrap(), "Ok(1500)");
    for n in 0..1500 {
        assert_eq!(client.get(&format!("/keyvalue/exists/default/key{n}")).unwrap(), "Ok(true)");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_grow_is_written_again_when_it_can() {
    let store = scratch("file-store-limit").join("limited");
    let prlimit = |pid: u32, limit: &str| {
        let words = ["--pid", &pid.to_string(), &format!("--fsize={limit}:")];
        assert!(Command::new("prlimit").args(words).status().unwrap().success());
    };
    if Command::new("prlimit").arg("--version").output().is_err() {
        println!("NOT RUN: there is no prlimit(1)");
        return;
    }
    let host = serve(&store).await;
    let (limit, lift) = (|pid| prlimit(pid, "65536"), |pid| prlimit(pid, "unlimited"));
    goes_on_in_memory_until_there_is_room(&store, host, limit, lift).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_written_again_when_there_is_room() {
    if !geteuid().is_root() {
        println!("NOT RUN: only root can mount a small file system");
        return;
    }
    // Without links: below /proc/PID/root an absolute link leads out of the host's mounts.
    let directory = fs::canonicalize(scratch("file-store-full")).unwrap();
    let mount = format!("mount -t tmpfs -o size=4m none '{}' && exec \"$0\" \"$@\"", directory.display());
    let store = directory.join("full");
    let host = options(&store).under(["unshare", "--mount", "sh", "-c", &mount]).start().await;
    let lift = |pid: u32| {
        let remount = format!("mount -o remount,size=64m none '{}'", directory.display());
        let words = ["--target", &pid.to_string(), "--mount", "sh", "-c", &remount];
        assert!(Command::new("nsenter").args(words).status().unwrap().success());
    };
    goes_on_in_memory_until_there_is_room(&store, host, |_| (), lift).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_writes_what_is_not_yet_written() {
    let store = scratch("file-store-sigterm").join("store");
    let mut host = serve(&store).await;
    let mut client = Client::connect(host.address()).unwrap();
    for n in 1..=50 {
        assert_eq!(client.get("/keyvalue/increment/default/count?1").unwrap(), format!("Ok({n})"));
    }
    drop(client);
    host.signal(Signal::SIGTERM);
    assert_eq!(host.ended().await.code(), Some(0));
    let host = serve(&store).await;
    let mut client = Client::connect(host.address()).unwrap();
    assert_eq!(client.get("/keyvalue/increment/default/count?0").unwrap(), "Ok(50)");
}

/// Starts a host that is to fail.
fn fails(store: &str) -> (Option<i32>, String) {
    let (app, flag) = (guest("service"), format!("default=file:{store}"));
    let listeners = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let words = [&["serve", app.to_str().unwrap(), "--keyvalue-store", &flag][..], &listeners].concat();
    let failed = run(&words);
    (failed.status.code(), String::from_utf8_lossy(&failed.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_is_told_which_file_is_open() {
    let store = scratch("file-store-second").join("store");
    let _host = serve(&store).await;
    let (code, error) = fails(store.to_str().unwrap());
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("another process uses it") && error.contains(store.to_str().unwrap()), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrupt_file_is_named_and_set_aside() {
    let store = scratch("file-store-corrupt").join("store");
    fs::write(&store, "this is no database").unwrap();
    let host = serve(&store).await;
    let line = host.wait_for_line(|line| line.get("set_aside").is_some()).await;
    assert_eq!(line.get("file"), store.to_str());
    assert_eq!(fs::read_to_string(line.get("set_aside").unwrap()).unwrap(), "this is no database");
    let mut client = Client::connect(host.address()).unwrap();
    assert_eq!(client.get("/keyvalue/set/default/k?v").unwrap(), "Ok(())");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let (code, error) = fails("/proc/nowhere/store");
    assert!(code == Some(1) && error.contains("the directory /proc/nowhere"), "{error}");
}
