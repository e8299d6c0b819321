use super::*;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Barrier;
use std::thread;

const MIB: u64 = 1 << 20;

impl MemoryStore {
    fn exists(&self, key: &str) -> Result<bool, Error> {
        self.get(key).map(|value| value.is_some())
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[test]
fn what_was_written_is_read() {
    let store = MemoryStore::new(MIB);
    assert_eq!(store.get("k"), Ok(None));
    store.set("k", bytes("v")).unwrap();
    assert_eq!(store.get("k"), Ok(Some(bytes("v"))));
    assert_eq!(store.exists("k"), Ok(true));
    store.delete("k").unwrap();
    assert_eq!((store.get("k"), store.exists("k")), (Ok(None), Ok(false)));
    store.delete("k").unwrap();
}

#[test]
fn a_value_is_not_copied() {
    let store = MemoryStore::new(MIB);
    let value = bytes("some value");
    store.set("k", value.clone()).unwrap();
    assert_eq!(store.get("k").unwrap().unwrap().as_ptr(), value.as_ptr());
}

#[test]
fn a_counter_reads_as_decimal_text_and_text_can_be_counted_on() {
    let store = MemoryStore::new(MIB);
    assert_eq!(store.increment("n", 0), Ok(0));
    assert_eq!(store.increment("n", -3), Ok(-3));
    assert_eq!(store.get("n"), Ok(Some(bytes("-3"))));
    store.set("n", bytes("41")).unwrap();
    assert_eq!(store.increment("n", 1), Ok(42));
    store.set("n", bytes("many")).unwrap();
    assert!(store.increment("n", 1).unwrap_err().to_string().contains("\"n\""));
    assert_eq!(store.get("n"), Ok(Some(bytes("many"))), "a failed increment changes nothing");
}

#[test]
fn a_counter_does_not_wrap() {
    let store = MemoryStore::new(MIB);
    store.increment("n", i64::MAX).unwrap();
    assert!(store.increment("n", 1).is_err());
    assert_eq!(store.increment("n", 0), Ok(i64::MAX));
}

#[test]
fn a_swap_after_another_writers_change_fails() {
    let store = MemoryStore::new(MIB);
    let absent = store.snapshot("k").unwrap();
    assert_eq!(absent.value, None);
    store.set("k", bytes("a")).unwrap();
    let Swap::Stale(now) = store.swap("k", &absent, bytes("x")).unwrap() else {
        panic!("an absent key was set")
    };
    assert_eq!(now.value, Some(bytes("a")));

    store.set("k", bytes("a")).unwrap();
    assert!(
        matches!(store.swap("k", &now, bytes("x")), Ok(Swap::Stale(_))),
        "the same bytes, yet written again"
    );

    let now = store.snapshot("k").unwrap();
    assert_eq!(store.swap("k", &now, bytes("b")), Ok(Swap::Done));
    assert!(
        matches!(store.swap("k", &now, bytes("c")), Ok(Swap::Stale(_))),
        "a snapshot is good for one swap"
    );
    let now = store.snapshot("k").unwrap();
    store.delete("k").unwrap();
    let Ok(Swap::Stale(gone)) = store.swap("k", &now, bytes("c")) else {
        panic!("a deleted key was swapped")
    };
    assert_eq!(gone, Snapshot { version: 0, value: None });

    store.increment("k", 1).unwrap();
    let one = store.snapshot("k").unwrap();
    store.increment("k", 1).unwrap();
    assert!(matches!(store.swap("k", &one, bytes("c")), Ok(Swap::Stale(_))), "counters have versions too");
}

#[test]
fn of_many_that_swap_an_absent_key_one_wins() {
    let store = MemoryStore::new(MIB);
    for round in 0..50 {
        let key = format!("k{round}");
        let start = Barrier::new(8);
        let wins: usize = thread::scope(|scope| {
            let racers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let seen = store.snapshot(&key).unwrap();
                        start.wait();
                        usize::from(store.swap(&key, &seen, bytes("mine")) == Ok(Swap::Done))
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).sum()
        });
        assert_eq!(wins, 1);
    }
}

#[test]
fn increments_from_many_threads_add_up() {
    let store = MemoryStore::new(MIB);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..1000).for_each(|_| assert!(store.increment("n", 1).is_ok())));
        }
    });
    assert_eq!(store.increment("n", 0), Ok(8000));
}

#[test]
fn a_flood_of_values_stays_in_bounds_and_takes_no_counter() {
    let store = MemoryStore::new(4 * MIB);
    for n in 0..100 {
        store.increment(&format!("counter{n}"), n).unwrap();
    }
    for n in 0..20_000 {
        store.set(&format!("flood{n}"), Bytes::from(vec![0; 2000])).unwrap();
        if n % 1000 == 0 {
            let usage = store.usage();
            assert!(usage.bytes <= usage.max_bytes + usage.max_bytes / 16, "{usage:?}");
        }
    }
    store.values.run_pending_tasks();
    let usage = store.usage();
    assert!(usage.bytes <= usage.max_bytes, "{usage:?}");
    assert!(usage.evictions > 10_000, "{usage:?}");
    for n in 0..100 {
        assert_eq!(store.increment(&format!("counter{n}"), 0), Ok(n));
    }
}

#[test]
fn a_flood_of_counters_stays_in_bounds_and_keeps_those_in_use() {
    let store = MemoryStore::new(MIB);
    for n in 0..20_000 {
        store.increment(&format!("flood{n}"), 1).unwrap();
        store.increment("used", 1).unwrap();
    }
    store.counters.run_pending_tasks();
    let usage = store.usage();
    assert!(usage.bytes <= usage.max_bytes / 8, "{usage:?}");
    assert_eq!(store.increment("used", 0), Ok(20_000));
}

#[test]
fn what_was_just_written_is_readable_whatever_is_popular() {
    let store = MemoryStore::new(4 * MIB);
    let value = Bytes::from(vec![0; 20_000]);
    for n in 0..200 {
        store.set(&format!("popular{n}"), value.clone()).unwrap();
    }
    for _ in 0..50 {
        (0..200).for_each(|n| drop(store.get(&format!("popular{n}")).unwrap()));
    }
    for n in 0..500 {
        store.set(&format!("new{n}"), value.clone()).unwrap();
        store.values.run_pending_tasks();
        assert_eq!(store.get(&format!("new{n}")), Ok(Some(value.clone())));
        let a_while_ago = format!("new{}", n.max(15) - 15);
        assert!(
            n < 15 || store.exists(&a_while_ago).unwrap(),
            "15 writes later, of 26 that the recent writes hold"
        );
    }
}

#[test]
fn scanning_does_not_displace_what_is_popular() {
    let store = MemoryStore::new(4 * MIB);
    let value = Bytes::from(vec![0; 20_000]);
    let read_all = || (0..100).filter(|n| store.exists(&format!("popular{n}")).unwrap()).count();
    for n in 0..100 {
        store.set(&format!("popular{n}"), value.clone()).unwrap();
    }
    for n in 0..2000 {
        store.set(&format!("once{n}"), value.clone()).unwrap();
        if n % 20 == 0 {
            read_all();
        }
    }
    assert!(read_all() >= 90, "{} of 100", read_all());
}

#[test]
fn a_value_that_the_recent_writes_cannot_hold_is_refused() {
    let store = MemoryStore::new(MIB);
    let largest = store.max_value_bytes - 1;
    store.set("k", Bytes::from(vec![0; largest])).unwrap();
    assert!(store.exists("k").unwrap());
    let error = store.set("k", Bytes::from(vec![0; largest + 1])).unwrap_err();
    assert!(error.to_string().contains(&largest.to_string()), "{error}");
    assert!(store.exists("k").unwrap(), "what was there stays");
}

#[test]
fn keys_come_in_pages() {
    let store = MemoryStore::new(16 * MIB);
    assert_eq!(store.list_keys_of("", None), Ok(KeyPage::default()));
    for n in 0..2 * PAGE_KEYS {
        store.set(&format!("key{n:05}"), bytes("v")).unwrap();
    }
    store.increment("key99999", 1).unwrap();
    let mut all = Vec::new();
    let mut cursor = None;
    let mut sizes = Vec::new();
    loop {
        let page = store.list_keys_of("", cursor.as_deref()).unwrap();
        sizes.push(page.keys.len());
        all.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [PAGE_KEYS, PAGE_KEYS, 1]);
    let expected = (0..2 * PAGE_KEYS).map(|n| format!("key{n:05}")).chain(["key99999".to_owned()]);
    assert!(all.into_iter().eq(expected), "each key once, in order");
}

/// The ordered keys, from which pages are read, are those of the store: evicted ones do not stay, and nothing else is missing.
#[test]
fn the_ordered_keys_follow_what_is_evicted() {
    let store = MemoryStore::new(MIB);
    for n in 0..20_000 {
        store.set(&format!("value{n:05}"), bytes("v")).unwrap();
        store.increment(&format!("counter{n:05}"), 1).unwrap();
        if n % 3 == 0 {
            store.delete(&format!("value{n:05}")).unwrap();
        }
    }
    store.values.run_pending_tasks();
    store.counters.run_pending_tasks();
    let mut listed = BTreeSet::new();
    let mut cursor = None;
    loop {
        let page = store.list_keys_of("", cursor.as_deref()).unwrap();
        listed.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    let writers = store.lock();
    let mut held: BTreeSet<String> = writers.recent.keys().map(str::to_owned).collect();
    held.extend(store.values.iter().map(|(key, _)| key.to_string()));
    held.extend(store.counters.iter().map(|(key, _)| key.to_string()));
    assert!(held.len() < 10_000, "{} keys were not evicted", held.len());
    assert_eq!(listed, held);
    assert_eq!(writers.keys.len(), held.len());
}

#[derive(Debug, Clone)]
enum Step {
    Get(u8),
    Set(u8, i8),
    Delete(u8),
    Increment(u8, i8),
    Snapshot(u8),
    Swap(i8),
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..4u8;
    prop_oneof![
        key.clone().prop_map(Step::Get),
        (key.clone(), any::<i8>()).prop_map(|(key, value)| Step::Set(key, value)),
        key.clone().prop_map(Step::Delete),
        (key.clone(), any::<i8>()).prop_map(|(key, delta)| Step::Increment(key, delta)),
        key.prop_map(Step::Snapshot),
        any::<i8>().prop_map(Step::Swap),
    ]
}

proptest! {
    /// While nothing is evicted, the store is a map of numbers.
    #[test]
    fn it_behaves_as_a_map(steps in prop::collection::vec(step(), 0..200)) {
        let store = MemoryStore::new(MIB);
        let mut map: HashMap<u8, i64> = HashMap::new();
        let mut begun: Option<(u8, Snapshot)> = None;
        let mut changed = true;
        for step in steps {
            match step {
                Step::Get(key) => {
                    let seen = store.get(&key.to_string()).unwrap();
                    prop_assert_eq!(seen, map.get(&key).map(|n| Bytes::from(n.to_string())));
                }
                Step::Set(key, n) => {
                    store.set(&key.to_string(), Bytes::from(n.to_string())).unwrap();
                    map.insert(key, n.into());
                    changed |= begun.as_ref().is_some_and(|(k, _)| *k == key);
                }
                Step::Delete(key) => {
                    store.delete(&key.to_string()).unwrap();
                    let present = map.remove(&key).is_some();
                    changed |= present && begun.as_ref().is_some_and(|(k, _)| *k == key);
                }
                Step::Increment(key, delta) => {
                    let n = map.entry(key).or_default();
                    *n += i64::from(delta);
                    prop_assert_eq!(store.increment(&key.to_string(), delta.into()), Ok(*n));
                    changed |= begun.as_ref().is_some_and(|(k, _)| *k == key);
                }
                Step::Snapshot(key) => {
                    begun = Some((key, store.snapshot(&key.to_string()).unwrap()));
                    changed = false;
                }
                Step::Swap(n) => if let Some((key, seen)) = begun.take() {
                    let swapped = store.swap(&key.to_string(), &seen, Bytes::from(n.to_string())).unwrap();
                    // A key that was absent, came and went again is absent still: that swap may win.
                    if seen.value.is_some() || map.contains_key(&key) {
                        prop_assert_eq!(swapped == Swap::Done, !changed);
                    }
                    if swapped == Swap::Done {
                        map.insert(key, n.into());
                    }
                },
            }
        }
        let keys: BTreeSet<String> = map.keys().map(u8::to_string).collect();
        prop_assert_eq!(store.list_keys_of("", None).unwrap().keys.into_iter().collect::<BTreeSet<_>>(), keys);
    }
}
