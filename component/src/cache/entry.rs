//! The stored form of a record: the body of the answer, then a binary trailer.
//!
//! The trailer is at the end of the value, because removing bytes from the end of a vector is free. The last member of
//! the body depends on the request and is appended in the trailer's place. All numbers are little-endian:
//!
//! ```text
//! body · validator · rev 8 · slot 8 · stored-at 8 · fresh-until 8 · fetched-at 8 · credential 8 · etag 16
//!      · failed-at 8 · failure-until 8 · failure-credential 8 · failure-status 2 · failure-kind 1 · flags 1
//!      · count 2 · validator-len 2 · body-len 4 · format 2
//! ```
//!
//! Whoever changes this form changes [`FORMAT`]. The keys of records name the format as well (`cache::key`), so that two
//! versions that share a store neither read nor overwrite each other's records, nor wait for each other's leases.

use std::time::Duration;

use crate::cache::slot::Slot;
use crate::time::millis;

/// The version of the stored form: a part of every record's key, and the last two bytes of its value. A value with other
/// bytes there counts as a miss, and the next write replaces it.
pub const FORMAT: &str = "v3";
/// The length of the trailer without the validator, in bytes.
const TRAILER: usize = 102;
/// The longest validator that is stored, in bytes. GitHub's validators have about 70.
pub const MAX_VALIDATOR: usize = 1024;

const HAS_CONTENT: u8 = 1;
const HAS_FAILURE: u8 = 1 << 1;
const HAS_VALIDATOR: u8 = 1 << 2;
const HAS_NEXT: u8 = 1 << 3;
const HAS_PREV: u8 = 1 << 4;
const ALL_FLAGS: u8 = 0b1_1111;

/// What is known about one page of one user: the page, the last failure, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The revision: new and random with every write, never 0. A record that does not exist counts as revision 0.
    pub rev: u64,
    /// The slot whose displacement removes this record.
    pub slot: Slot,
    /// The page that GitHub last sent.
    pub content: Option<Content>,
    /// The last failure, if there was no page since.
    pub failure: Option<FailureRecord>,
}

/// A page of gists, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The JSON body without its last member: what `github::gist` makes.
    pub body: Vec<u8>,
    /// When GitHub last sent or confirmed the page, since the Unix epoch. All times here are whole milliseconds.
    pub stored_at: Duration,
    /// Until when the page is answered without asking GitHub, since the Unix epoch.
    pub fresh_until: Duration,
    /// When GitHub last sent the whole page, since the Unix epoch. A 304 does not change this time.
    pub fetched_at: Duration,
    /// GitHub's `ETag` of the page, which revalidates the page.
    pub validator: Option<String>,
    /// The hash of the credential that obtained `validator`; 0 stands for none.
    pub credential: u64,
    /// The hash in our own `ETag`.
    pub etag: [u8; 16],
    /// How many gists the page has.
    pub count: u16,
    /// Whether GitHub has a next page.
    pub has_next: bool,
    /// Whether GitHub has a previous page.
    pub has_prev: bool,
}

/// A failed request to GitHub. Other requests for the same page with the same credential share it for one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureRecord {
    /// When it failed, since the Unix epoch.
    pub at: Duration,
    /// The kind of failure: [`FailureRecord::NOT_STORED`], or a code that `upstream::failure` defines.
    pub kind: u8,
    /// GitHub's status; 0 if there was none.
    pub status: u16,
    /// When GitHub may be asked again, since the Unix epoch; zero if that is unknown.
    pub until: Duration,
    /// The hash of the credential that the request had; 0 stands for none.
    pub credential: u64,
}

impl FailureRecord {
    /// The kind that is no failure of GitHub's: GitHub sent a page, and the store refused it. Whoever waits for the page
    /// has to ask GitHub as well.
    pub const NOT_STORED: u8 = u8::MAX;

    /// Whether GitHub sent a page that the store refused.
    #[must_use]
    pub fn is_not_stored(&self) -> bool {
        self.kind == Self::NOT_STORED
    }
}

impl Record {
    /// The stored form. A validator longer than [`MAX_VALIDATOR`] is left out.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let content = self.content.as_ref();
        let body = content.map_or(&[][..], |content| &content.body);
        let validator = content.and_then(|c| c.validator.as_deref()).filter(|v| v.len() <= MAX_VALIDATOR);
        let failure = self.failure.as_ref();
        let time = |time: Option<Duration>| millis(time.unwrap_or_default()).to_le_bytes();
        let mut flags = 0;
        for (set, flag) in [
            (content.is_some(), HAS_CONTENT),
            (failure.is_some(), HAS_FAILURE),
            (validator.is_some(), HAS_VALIDATOR),
            (content.is_some_and(|c| c.has_next), HAS_NEXT),
            (content.is_some_and(|c| c.has_prev), HAS_PREV),
        ] {
            flags |= if set { flag } else { 0 };
        }
        let validator = validator.unwrap_or_default().as_bytes();
        let mut value = Vec::with_capacity(body.len() + validator.len() + TRAILER);
        value.extend_from_slice(body);
        value.extend_from_slice(validator);
        value.extend_from_slice(&self.rev.to_le_bytes());
        value.extend_from_slice(&self.slot.to_bits().to_le_bytes());
        value.extend_from_slice(&time(content.map(|c| c.stored_at)));
        value.extend_from_slice(&time(content.map(|c| c.fresh_until)));
        value.extend_from_slice(&time(content.map(|c| c.fetched_at)));
        value.extend_from_slice(&content.map_or(0, |c| c.credential).to_le_bytes());
        value.extend_from_slice(&content.map_or([0; 16], |c| c.etag));
        value.extend_from_slice(&time(failure.map(|f| f.at)));
        value.extend_from_slice(&time(failure.map(|f| f.until)));
        value.extend_from_slice(&failure.map_or(0, |f| f.credential).to_le_bytes());
        value.extend_from_slice(&failure.map_or(0, |f| f.status).to_le_bytes());
        value.push(failure.map_or(0, |f| f.kind));
        value.push(flags);
        value.extend_from_slice(&content.map_or(0, |c| c.count).to_le_bytes());
        value.extend_from_slice(&u16::try_from(validator.len()).unwrap_or_default().to_le_bytes());
        value.extend_from_slice(&u32::try_from(body.len()).unwrap_or_default().to_le_bytes());
        value.extend_from_slice(FORMAT.as_bytes());
        value
    }

    /// The record whose stored form is `value`; `None` if `value` has another form. The body is not copied.
    #[must_use]
    pub fn decode(mut value: Vec<u8>) -> Option<Self> {
        let (front, trailer) = value.split_last_chunk::<TRAILER>()?;
        let mut fields = Fields(trailer);
        let rev = fields.u64()?;
        let slot = Slot::from_bits(fields.u64()?);
        let stored_at = fields.time()?;
        let fresh_until = fields.time()?;
        let fetched_at = fields.time()?;
        let credential = fields.u64()?;
        let etag = fields.take::<16>()?;
        let (failed_at, failure_until) = (fields.time()?, fields.time()?);
        let failure_credential = fields.u64()?;
        let status = u16::from_le_bytes(fields.take()?);
        let [kind, flags] = fields.take()?;
        let count = u16::from_le_bytes(fields.take()?);
        let validator_len = usize::from(u16::from_le_bytes(fields.take()?));
        let body_len = usize::try_from(u32::from_le_bytes(fields.take()?)).ok()?;
        let known = fields.take::<2>()? == FORMAT.as_bytes() && flags & !ALL_FLAGS == 0 && rev != 0;
        if !known || front.len() != body_len.checked_add(validator_len)? {
            return None;
        }
        let has = |flag| flags & flag != 0;
        let failure = has(HAS_FAILURE).then_some(FailureRecord {
            at: failed_at,
            kind,
            status,
            until: failure_until,
            credential: failure_credential,
        });
        if !has(HAS_CONTENT) {
            return (front.is_empty()).then_some(Self { rev, slot, content: None, failure });
        }
        let validator = match has(HAS_VALIDATOR) {
            true => Some(std::str::from_utf8(front.get(body_len..)?).ok()?.to_owned()),
            false if validator_len == 0 => None,
            false => return None,
        };
        value.truncate(body_len);
        let content = Content {
            body: value,
            stored_at,
            fresh_until,
            fetched_at,
            validator,
            credential,
            etag,
            count,
            has_next: has(HAS_NEXT),
            has_prev: has(HAS_PREV),
        };
        Some(Self { rev, slot, content: Some(content), failure })
    }
}

/// The part of a trailer that is not decoded yet.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Option<Duration> {
        self.u64().map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time() -> impl Strategy<Value = Duration> {
        any::<u64>().prop_map(Duration::from_millis)
    }

    prop_compose! {
        fn content()(
            body in proptest::collection::vec(any::<u8>(), 0..300),
            (stored_at, fresh_until, fetched_at) in (time(), time(), time()),
            validator in proptest::option::of("\\PC{0,80}"),
            (credential, etag) in (any::<u64>(), any::<[u8; 16]>()),
            (count, has_next, has_prev) in (any::<u16>(), any::<bool>(), any::<bool>()),
        ) -> Content {
            Content {
                body, stored_at, fresh_until, fetched_at, validator, credential, etag, count, has_next, has_prev,
            }
        }
    }

    prop_compose! {
        fn failure()(at in time(), kind: u8, status: u16, until in time(), credential: u64) -> FailureRecord {
            FailureRecord { at, kind, status, until, credential }
        }
    }

    prop_compose! {
        fn record()(
            rev in 1..=u64::MAX,
            slot: u64,
            content in proptest::option::of(content()),
            failure in proptest::option::of(failure()),
        ) -> Record {
            Record { rev, slot: Slot::from_bits(slot), content, failure }
        }
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(record in record()) {
            prop_assert_eq!(Record::decode(record.encode()), Some(record));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Record::decode(bytes);
        }

        #[test]
        fn a_shortened_value_is_a_miss(record in record(), cut in 1usize..64) {
            let mut value = record.encode();
            value.truncate(value.len() - cut.min(value.len()));
            prop_assert_eq!(Record::decode(value), None);
        }

        #[test]
        fn a_spoilt_trailer_never_panics(record in record(), at in 0..TRAILER, to: u8) {
            let mut value = record.encode();
            let from_end = value.len() - 1 - at;
            value[from_end] = to;
            let _ = Record::decode(value);
        }
    }

    #[test]
    fn an_overlong_validator_is_left_out() {
        let mut record = Record {
            rev: 1,
            slot: Slot::from_bits(7),
            content: Some(Content {
                body: b"{}".to_vec(),
                stored_at: Duration::ZERO,
                fresh_until: Duration::ZERO,
                fetched_at: Duration::ZERO,
                validator: Some("x".repeat(MAX_VALIDATOR + 1)),
                credential: 0,
                etag: [0; 16],
                count: 0,
                has_next: false,
                has_prev: false,
            }),
            failure: None,
        };
        let decoded = Record::decode(record.encode());
        record.content.as_mut().unwrap().validator = None;
        assert_eq!(decoded, Some(record));
    }

    #[test]
    fn the_body_leaves_room_for_its_last_member() {
        let record = Record {
            rev: 1,
            slot: Slot::from_bits(7),
            content: Some(Content {
                body: vec![b'x'; 20_000],
                stored_at: Duration::ZERO,
                fresh_until: Duration::ZERO,
                fetched_at: Duration::ZERO,
                validator: None,
                credential: 0,
                etag: [0; 16],
                count: 0,
                has_next: false,
                has_prev: false,
            }),
            failure: None,
        };
        let body = Record::decode(record.encode()).unwrap().content.unwrap().body;
        assert!(body.capacity() - body.len() >= 64, "appending must not move the body");
    }
}
