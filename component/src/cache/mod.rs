//! The cache of pages in a key-value store: generations, lookups and writes. Its functions fail only if the store does;
//! a value that cannot be decoded counts as missing.

pub mod entry;
pub mod freshness;
pub mod key;
pub mod ring;
pub mod slot;
pub mod tally;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::cache::entry::{Content, FailureRecord, Record};
use crate::cache::freshness::Freshness;
use crate::cache::key::{Generation, GenerationRecord, PageKey, absent_key, entry_key};
use crate::cache::ring::Rings;
use crate::cache::slot::Ring;
use crate::cache::tally::Tally;
use crate::ports::{Clock, Random, Store, StoreError};
use crate::text;

/// How long the cache answers for GitHub that there is no such user.
pub const ABSENT_TTL: Duration = Duration::from_secs(60);
/// How long a failure is shared with other requests for the same page.
const FAILURE_TTL: Duration = Duration::from_secs(1);
/// The most that the clocks of two processes may differ.
pub const CLOCK_DIFFERENCE: Duration = Duration::from_secs(300);
/// How long after its last write the generation is written again. A store with a time to live must keep keys for longer.
const RENEWAL: Duration = Duration::from_secs(60);
/// The key of the counter that elects the process which creates the first generation: the one that gets 1.
const GENERATION_ELECTION: &str = "generation:v3:maker";
/// How long the other processes wait for the elected one.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause between two looks for the first generation.
const ELECTION_PAUSE: Duration = Duration::from_millis(20);

/// The cache, which is in one store and shared by all instances that use that store.
#[derive(Debug)]
pub struct Cache<S> {
    store: Rc<S>,
    rings: Rings,
    /// The generation that the last look-up found.
    seen: Cell<Option<Generation>>,
}

/// The result of [`Cache::look_up`].
#[derive(Debug)]
pub enum Found {
    /// The page is stored, and may be used as its freshness says.
    Content(Content, Freshness),
    /// GitHub knows no such user. The time, since the Unix epoch, is when this expires.
    Absent(Duration),
    /// Neither a page that counts nor the user's absence is stored.
    Nothing {
        /// When GitHub last said that the user is gone, since the Unix epoch; zero if the cache knows of no such answer.
        /// Pages that were stored until then do not count.
        gone_at: Duration,
    },
}

/// The keys that the look-up of a page reads: of its record, of its user's absence, and of the current generation.
#[derive(Debug, Default)]
pub struct LookUpKeys(RefCell<Option<Rc<KeysOf>>>);

/// A generation, and the keys in it.
type KeysOf = (Generation, [String; 3]);

impl LookUpKeys {
    /// The keys of `page` in `generation`. They are made anew when the generation has changed.
    fn of(&self, generation: Generation, page: PageKey<'_>) -> Rc<KeysOf> {
        let mut made = self.0.borrow_mut();
        if let Some(keys) = made.as_ref().filter(|keys| keys.0 == generation) {
            return Rc::clone(keys);
        }
        let keys = [
            entry_key(generation, page),
            // If the user does not exist, none of the user's pages may be answered.
            absent_key(generation, page.user),
            GenerationRecord::KEY.to_owned(),
        ];
        Rc::clone(made.insert(Rc::new((generation, keys))))
    }
}

impl<S: Store> Cache<S> {
    /// The cache in `store`, which keeps at most `entries` pages.
    pub fn new(store: Rc<S>, entries: u64) -> Self {
        Self { store, rings: Rings { entries }, seen: Cell::new(None) }
    }

    /// The store that the cache is in.
    pub fn store(&self) -> &Rc<S> {
        &self.store
    }

    /// The current generation. If there is none, the processes elect one that creates it, and the others wait.
    /// Without the election, each process would use a generation of its own, and all of them would ask GitHub.
    pub async fn generation(&self, platform: &(impl Clock + Random)) -> Result<Generation, StoreError> {
        if let Some(generation) = self.current_generation().await? {
            return Ok(generation);
        }
        let deadline = platform.monotonic() + ELECTION_TIMEOUT;
        while self.store.increment(GENERATION_ELECTION, 1).await? != 1 && platform.monotonic() < deadline {
            platform.sleep(ELECTION_PAUSE).await;
            if let Some(generation) = self.current_generation().await? {
                return Ok(generation);
            }
        }
        // A process that wins a later election finds the generation of the earlier one.
        if self.current_generation().await?.is_none() {
            self.start_generation(platform).await?;
        }
        self.store.delete(GENERATION_ELECTION).await?;
        match self.current_generation().await? {
            Some(generation) => Ok(generation),
            None => Err(StoreError::Other("the store lost a value that was just written".to_owned())),
        }
    }

    /// The current generation; `None` if none has been created.
    pub async fn current_generation(&self) -> Result<Option<Generation>, StoreError> {
        Ok(self.current_record().await?.map(|record| record.generation))
    }

    async fn current_record(&self) -> Result<Option<GenerationRecord>, StoreError> {
        Ok(self.store.get(GenerationRecord::KEY).await?.as_deref().and_then(GenerationRecord::decode))
    }

    async fn start_generation(&self, platform: &(impl Clock + Random)) -> Result<(), StoreError> {
        let slots_before = self.rings.last_or_start(&*self.store, platform, Ring::Entries).await?;
        let generation = Generation::new(platform.random());
        let record = GenerationRecord { generation, written_at: platform.system(), slots_before };
        self.store.set(GenerationRecord::KEY, &record.encode()).await
    }

    /// Ends the current generation and its statistics. A fetch that is in flight still writes into the old generation.
    pub async fn clear(&self, platform: &(impl Clock + Random)) -> Result<(), StoreError> {
        let old = self.current_generation().await?;
        self.start_generation(platform).await?;
        match old {
            Some(old) => Tally::remove(&*self.store, old).await,
            None => Ok(()),
        }
    }

    /// Writes the current generation again, unless that was done less than [`RENEWAL`] before `now` (since the Unix
    /// epoch). Reading does not renew a key in a store with a time to live, and without its generation the whole cache
    /// is lost. Callers have just asked GitHub for a page, so this costs a cached answer nothing.
    pub async fn renew(&self, now: Duration) -> Result<(), StoreError> {
        let Some(value) = self.store.get(GenerationRecord::KEY).await? else { return Ok(()) };
        let Some(record) = GenerationRecord::decode(&value) else { return Ok(()) };
        let is_recent = now < record.written_at + RENEWAL && record.written_at <= now + CLOCK_DIFFERENCE;
        if is_recent {
            return Ok(());
        }
        let renewed = GenerationRecord { written_at: now, ..record };
        // A `set` could undo a `DELETE /cache` of this moment.
        self.store.replace(GenerationRecord::KEY, &value, &renewed.encode()).await.map(drop)
    }

    /// The statistics of the current generation, and how many pages it has.
    pub async fn stats(&self, random: &impl Random) -> Result<(Tally, u64), StoreError> {
        let Some(record) = self.current_record().await? else { return Ok(Default::default()) };
        let GenerationRecord { generation, slots_before, .. } = record;
        let tally = Tally::read(&*self.store, generation).await?;
        let size =
            ring::count_pages(self.rings, &*self.store, generation, slots_before, random.random()).await?;
        Ok((tally, size))
    }

    /// What the cache knows about `page` at `now`, the time since the Unix epoch, and the current generation. `keys` are those of
    /// the page, from an earlier look-up or empty.
    ///
    /// The generation rarely changes. So one call reads the records of the generation that was last seen, and with them the
    /// current generation; only if that is another one, they are read again.
    pub async fn look_up(
        &self,
        platform: &(impl Clock + Random),
        page: PageKey<'_>,
        keys: &LookUpKeys,
        now: Duration,
    ) -> Result<(Generation, Found), StoreError> {
        if let Some(seen) = self.seen.get() {
            let keys = keys.of(seen, page);
            let [entry, absence, generation] = self.read(&keys.1).await?;
            let current = generation.as_deref().and_then(GenerationRecord::decode);
            if current.is_some_and(|current| current.generation == seen) {
                return Ok((seen, found(entry, absence, now)));
            }
        }
        let generation = self.generation(platform).await?;
        self.seen.set(Some(generation));
        let keys = keys.of(generation, page);
        let [entry, absence, _] = self.read(&keys.1).await?;
        Ok((generation, found(entry, absence, now)))
    }

    /// The values of `keys`, in one call.
    async fn read<const N: usize>(&self, keys: &[String; N]) -> Result<[Option<Vec<u8>>; N], StoreError> {
        let mut values = [const { None }; N];
        for (key, value) in self.store.get_many(keys).await? {
            // A store has its own order, and may leave out keys.
            let place = keys.iter().zip(&mut values).find(|(asked, _)| text::equal(asked, &key));
            if let Some((_, place)) = place {
                *place = value;
            }
        }
        Ok(values)
    }

    /// Writes the record under `key`: a page, a failure, or both. `before` is the record that it replaces.
    pub async fn put(
        &self,
        random: &impl Random,
        key: &str,
        before: Option<&Record>,
        content: Option<&Content>,
        failure: Option<FailureRecord>,
    ) -> Result<(), StoreError> {
        let ring = if content.is_some() { Ring::Entries } else { Ring::Negative };
        let had_content = before.is_some_and(|record| record.content.is_some());
        let mut slot = before.map(|record| record.slot).filter(|slot| slot.ring == ring || had_content);
        for _ in 0..2 {
            let slot = match slot.take() {
                Some(slot) => {
                    self.rings.keep(&*self.store, slot, key).await?;
                    slot
                }
                None => self.rings.claim(&*self.store, random, ring, key).await?,
            };
            let record = Record { rev: revision(random), slot, content: content.cloned(), failure };
            self.store.set(key, &record.encode()).await?;
            if !self.rings.has_passed(&*self.store, slot).await? {
                return Ok(());
            }
        }
        // So many records are written at once that the ring displaces this one while it is being written.
        self.store.delete(key).await
    }

    /// Remembers that the user called `user` (in lower case) is gone, as the failure `gone` says: until `gone.until`, none of
    /// the user's pages is looked up, and those that were stored until `gone.at` never count again. `None`: the user is
    /// back. Pages from before still do not count, because another person may have the name now.
    pub async fn put_absence(
        &self,
        random: &impl Random,
        generation: Generation,
        user: &str,
        gone: Option<FailureRecord>,
    ) -> Result<(), StoreError> {
        let key = absent_key(generation, user);
        let before = self.store.get(&key).await?.and_then(Record::decode);
        let was_gone = before.as_ref().and_then(|before| before.failure).filter(|gone| !gone.until.is_zero());
        let ended = was_gone.map(|gone| FailureRecord { until: Duration::ZERO, ..gone });
        match gone.or(ended) {
            Some(failure) => self.put(random, &key, before.as_ref(), None, Some(failure)).await,
            None => Ok(()),
        }
    }
}

/// What the stored records of a page, and of its user's absence, say at `now`.
fn found(entry: Option<Vec<u8>>, absence: Option<Vec<u8>>, now: Duration) -> Found {
    let absence = absence.and_then(Record::decode).and_then(|record| record.failure);
    let gone = absence.filter(|gone| gone.at <= now + CLOCK_DIFFERENCE);
    let gone_at = gone.map_or(Duration::ZERO, |gone| gone.at);
    let is_remembered = |until: &Duration| now < *until && *until <= now + ABSENT_TTL + CLOCK_DIFFERENCE;
    if let Some(until) = gone.map(|gone| gone.until).filter(is_remembered) {
        return Found::Absent(until);
    }
    let counts = |content: &Content| is_plausible(content, now) && is_after(content, gone_at);
    match entry.and_then(Record::decode).and_then(|record| record.content).filter(counts) {
        None => Found::Nothing { gone_at },
        Some(content) => {
            let freshness = Freshness::at(now, content.fresh_until);
            Found::Content(content, freshness)
        }
    }
}

/// Whether `record` makes a request to GitHub with `credential` unnecessary at `now`: it has a fresh page, or a recent
/// failure of that credential. The user was last gone at `gone_at`.
#[must_use]
pub fn is_usable(record: &Record, now: Duration, gone_at: Duration, credential: u64) -> bool {
    let is_fresh = |content: &Content| {
        Freshness::at(now, content.fresh_until) == Freshness::Fresh
            && is_plausible(content, now)
            && is_after(content, gone_at)
    };
    let is_recent = |failure: &FailureRecord| {
        let age = now.saturating_sub(failure.at);
        let is_recent = failure.at <= now + FAILURE_TTL && age < FAILURE_TTL;
        !failure.is_not_stored() && failure.credential == credential && is_recent
    };
    record.content.as_ref().is_some_and(is_fresh) || record.failure.as_ref().is_some_and(is_recent)
}

/// Whether the page was stored after GitHub said at `gone_at` that the user is gone.
#[must_use]
pub fn is_after(content: &Content, gone_at: Duration) -> bool {
    content.stored_at > gone_at || gone_at.is_zero()
}

/// Whether the page was not stored in the future. An entry that a wrong clock dated would otherwise be fresh until that
/// time comes.
fn is_plausible(content: &Content, now: Duration) -> bool {
    content.stored_at <= now + CLOCK_DIFFERENCE
}

/// A new revision: random, and not 0, which stands for a record that does not exist.
fn revision(random: &impl Random) -> u64 {
    random.random().max(1)
}
