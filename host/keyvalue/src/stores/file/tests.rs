use std::{
    collections::{BTreeMap, HashMap},
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;
use wasi_http_host_core::Exposition;

use super::{FileStore, FileSync, database::Database, writer::FLUSH_EVERY};
use crate::{Answer, Samples, Store, Swap, stores::memory::Stored};

const MIB: u64 = 1 << 20;

struct Fixture {
    dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("made/store")
    }

    fn open(&self) -> FileStore {
        FileStore::open(&self.path(), 16 * MIB, FileSync::Interval).unwrap()
    }

    /// Names in the store's directory, without the store and its lock.
    fn others(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path().parent().unwrap()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "store" && name != "store.lock").collect()
    }
}

fn now<R>(answer: Answer<R>) -> R {
    let Answer::Ready(answer) = answer else { panic!("a local store answers at once") };
    answer.unwrap()
}

fn metrics(store: &FileStore) -> String {
    let (mut samples, mut to) = (Samples::default(), Exposition::default());
    store.measure("s", &mut samples);
    samples.expose(&mut to);
    to.into_text()
}

#[test]
fn what_was_written_is_there_again_with_its_kind() {
    let fixture = Fixture::new();
    let store = fixture.open();
    now(store.set("value", "v".into()));
    now(store.set("gone", "v".into()));
    now(store.set("counted", "41".into()));
    now(store.increment("counted", 1));
    now(store.increment("counter", -3));
    now(store.increment("valued", 1));
    now(store.set("valued", Bytes::new()));
    let seen = now(store.snapshot("swapped"));
    assert_eq!(now(store.swap("swapped", &seen, "mine".into())), Swap::Done);
    now(store.delete("gone"));
    store.close();
    drop(store);

    let store = fixture.open();
    assert_eq!(now(store.get("value")), Some("v".into()));
    assert_eq!(now(store.get("gone")), None);
    assert_eq!(now(store.get("counted")), Some("42".into()));
    assert_eq!(now(store.get("valued")), Some(Bytes::new()));
    assert_eq!(now(store.get("swapped")), Some("mine".into()));
    assert_eq!(now(store.increment("counter", 1)), -2);
    assert!(fixture.others().is_empty());
    drop(store);
    let mut counters = Vec::new();
    let (database, _) = Database::open(&fixture.path()).unwrap();
    let note = |key: &str, stored| {
        if matches!(stored, Stored::Counter(_)) {
            counters.push(key.to_owned());
        }
    };
    database.load(note).unwrap();
    assert_eq!(counters, ["counted", "counter"], "counters are counters again");
}

#[test]
fn changes_reach_the_file_without_the_end_of_the_process() {
    let fixture = Fixture::new();
    let store = fixture.open();
    now(store.set("k", "v".into()));
    let begun = std::time::Instant::now();
    while metrics(&store).contains("file_flushes_total{store=\"s\"} 0\n") {
        assert!(begun.elapsed() < 600 * FLUSH_EVERY, "never written");
        std::thread::sleep(FLUSH_EVERY / 10);
    }
    // A copy is what a crash leaves: the process has not closed the file.
    let copy = fixture.dir.path().join("copy");
    fs::copy(fixture.path(), &copy).unwrap();
    let after_a_crash = FileStore::open(&copy, 16 * MIB, FileSync::Interval).unwrap();
    assert_eq!(now(after_a_crash.get("k")), Some("v".into()));
}

#[tokio::test]
async fn with_each_change_waited_for_a_crash_loses_nothing_that_was_answered() {
    let fixture = Fixture::new();
    let store = FileStore::open(&fixture.path(), 16 * MIB, FileSync::Always).unwrap();
    assert!(!store.is_local());
    // A copy is what a crash leaves: the process has not closed the file.
    let after_a_crash = |n: usize| {
        let copy = fixture.dir.path().join(format!("copy-{n}"));
        fs::copy(fixture.path(), &copy).unwrap();
        FileStore::open(&copy, 16 * MIB, FileSync::Interval).unwrap()
    };
    for n in 0..10 {
        let seen = store.snapshot("swapped").await.unwrap();
        let value = Bytes::from(n.to_string());
        assert_eq!(store.swap("swapped", &seen, value.clone()).await.unwrap(), Swap::Done);
        assert_eq!(store.increment("counter", 1).await.unwrap(), i64::try_from(n).unwrap() + 1);
        let again = after_a_crash(n);
        assert_eq!(now(again.get("swapped")), Some(value));
        assert_eq!(now(again.increment("counter", 0)), i64::try_from(n).unwrap() + 1);
    }
    // A read tells nothing that a crash could take back: nobody has waited for this change.
    drop(store.set("read", "v".into()));
    assert_eq!(store.get("read").await.unwrap(), Some("v".into()));
    assert_eq!(now(after_a_crash(99).get("read")), Some("v".into()));
}

#[test]
fn files_and_directories_are_for_their_owner_only() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&fixture.path()), 0o600);
    assert_eq!(mode(&fixture.path().with_extension("lock")), 0o600);
    assert_eq!(mode(fixture.path().parent().unwrap()), 0o700);
    drop(store);
}

#[test]
fn a_second_one_is_told_that_the_file_is_open() {
    let fixture = Fixture::new();
    let first = fixture.open();
    let error = FileStore::open(&fixture.path(), MIB, FileSync::Interval).err().unwrap();
    assert!(error.contains("another process uses it"), "{error}");
    assert!(error.contains(fixture.path().to_str().unwrap()), "{error}");
    drop(first);
    fixture.open();
}

#[test]
fn a_corrupt_or_foreign_file_is_set_aside_and_kept() {
    let fixture = Fixture::new();
    let store = fixture.open();
    for n in 0..2000 {
        now(store.set(&format!("key{n}"), vec![7; 500].into()));
    }
    drop(store);
    let whole = fs::read(fixture.path()).unwrap();
    let mut flipped = whole.clone();
    // In all values: a page that is no longer used holds some of them, too.
    for at in (0..flipped.len() - 8).step_by(97) {
        if flipped[at..at + 8] == [7; 8] {
            flipped[at] = 8;
        }
    }
    let mut seen = 0;
    for content in [b"# A file of somebody else's\n".repeat(300), flipped, whole[..whole.len() / 2].to_vec()]
    {
        fs::write(fixture.path(), &content).unwrap();
        let store = fixture.open();
        assert_eq!(now(store.get("key1")), None);
        now(store.set("new", "v".into()));
        drop(store);
        let store = fixture.open();
        assert_eq!(now(store.get("new")), Some("v".into()));
        seen += 1;
        let others = fixture.others();
        assert_eq!(others.len(), seen, "{others:?}");
        let directory = fixture.path().parent().unwrap().to_owned();
        let kept = others.iter().any(|name| fs::read(directory.join(name)).unwrap() == content);
        assert!(kept && others.iter().all(|name| name.starts_with("store.corrupt-")), "{others:?}");
    }
}

#[test]
fn what_cannot_be_opened_is_named_and_left_alone() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.path()).unwrap();
    let error = FileStore::open(&fixture.path(), MIB, FileSync::Interval).err().unwrap();
    assert!(error.contains(fixture.path().to_str().unwrap()), "{error}");
    assert!(fixture.path().is_dir());
    let file = fixture.dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = FileStore::open(&file.join("below"), MIB, FileSync::Interval).err().unwrap();
    assert!(error.contains("the directory"), "{error}");
    let link = fixture.dir.path().join("dangling");
    symlink("/nowhere/at/all", &link).unwrap();
    assert!(FileStore::open(&link, MIB, FileSync::Interval).is_err());
}

#[test]
fn the_file_is_bounded_as_memory_is() {
    let fixture = Fixture::new();
    let max_bytes = 4 * MIB;
    let store = FileStore::open(&fixture.path(), max_bytes, FileSync::Interval).unwrap();
    now(store.increment("counter", 7));
    for n in 0..3000_u32 {
        now(store.set(&format!("flood{n}"), vec![n.to_le_bytes()[0]; 20_000].into()));
        if n % 500 == 0 {
            std::thread::sleep(FLUSH_EVERY);
        }
    }
    drop(store);
    let bytes = fs::metadata(fixture.path()).unwrap().len();
    assert!(bytes <= 5 * max_bytes, "{bytes}");
    let store = FileStore::open(&fixture.path(), max_bytes, FileSync::Interval).unwrap();
    assert_eq!(now(store.increment("counter", 0)), 7);
    let kept = (0..3000).filter(|n| now(store.exists(&format!("flood{n}")))).count();
    assert!((50..250).contains(&kept), "{kept}");
    assert!(now(store.exists("flood2999")), "the latest write is there");
}

#[test]
fn a_smaller_bound_keeps_what_fits() {
    let fixture = Fixture::new();
    let store = fixture.open();
    now(store.set("large", vec![0; 1_000_000].into()));
    now(store.set("small", "v".into()));
    drop(store);
    let store = FileStore::open(&fixture.path(), MIB, FileSync::Interval).unwrap();
    assert_eq!((now(store.get("large")), now(store.get("small"))), (None, Some("v".into())));
    drop(store);
    assert_eq!(now(fixture.open().get("large")), None, "it is gone from the file, too");
}

#[test]
fn increments_of_many_threads_are_exact_afterwards() {
    let fixture = Fixture::new();
    let store = fixture.open();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..2000).for_each(|_| assert!(now(store.increment("n", 1)) > 0)));
        }
    });
    drop(store);
    assert_eq!(now(fixture.open().increment("n", 0)), 8000);
}

#[test]
fn a_path_is_taken_from_its_url() {
    for (url, path) in [("file:a/b", "a/b"), ("file:/a b", "/a b"), ("file:///a", "/a"), ("FILE:x", "x")] {
        assert_eq!(FileStore::path(url), Ok(Path::new(path)));
    }
    for url in ["file:", "file://host/a", "file:///", "file:a/"] {
        assert!(FileStore::path(url).is_err(), "{url}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Set(u8, Vec<u8>),
    Delete(u8),
    Increment(u8, i8),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..4u8;
    prop_oneof![
        4 => (key.clone(), prop::collection::vec(any::<u8>(), 0..50)).prop_map(|(key, value)| Step::Set(key, value)),
        2 => key.clone().prop_map(Step::Delete),
        4 => (key, any::<i8>()).prop_map(|(key, delta)| Step::Increment(key, delta)),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// With any number of restarts, the store is a map.
    #[test]
    fn it_behaves_as_a_map_over_restarts(steps in prop::collection::vec(step(), 0..40)) {
        let fixture = Fixture::new();
        let mut store = Some(fixture.open());
        let mut map: BTreeMap<u8, Bytes> = BTreeMap::new();
        for step in steps {
            let open = store.take().unwrap();
            match step {
                Step::Set(key, value) => {
                    now(open.set(&key.to_string(), value.clone().into()));
                    map.insert(key, value.into());
                }
                Step::Delete(key) => {
                    now(open.delete(&key.to_string()));
                    map.remove(&key);
                }
                Step::Increment(key, delta) => {
                    let before = map.get(&key).map_or(Some(0), |value| std::str::from_utf8(value).ok()?.parse::<i64>().ok());
                    let Answer::Ready(sum) = open.increment(&key.to_string(), delta.into()) else { panic!() };
                    prop_assert_eq!(sum.is_ok(), before.is_some());
                    if let Some(before) = before {
                        map.insert(key, (before + i64::from(delta)).to_string().into());
                    }
                }
                Step::Restart => {
                    drop(open);
                    store = Some(fixture.open());
                    continue;
                }
            }
            store = Some(open);
        }
        drop(store);
        let store = fixture.open();
        let found: HashMap<u8, Bytes> =
            (0..4).filter_map(|key| Some((key, now(store.get(&key.to_string()))?))).collect();
        prop_assert_eq!(found.into_iter().collect::<BTreeMap<_, _>>(), map);
    }
}
