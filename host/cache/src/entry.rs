//! A stored response.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::{
    budget::Charge,
    conditional, date,
    directives::Directives,
    freshness::Freshness,
    groups::Group,
    range::{self, Requested},
    status,
    targeted::CDN_CACHE_CONTROL,
    vary::Selection,
};

/// The most bytes of the fields of a stored response, as [`field_bytes`] counts them.
pub(crate) const MAX_FIELD_BYTES: usize = 16 << 10;
/// What a field takes in a map beside its name and its value.
const FIELD_OVERHEAD: usize = 128;
/// The least time between two refreshes in the background for one stored response.
const REFRESH_PAUSE: Duration = Duration::from_secs(1);

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Fields of one connection (RFC 9111, 3.1), and those that the host or the protocol writes anew for each response.
const NOT_STORED: [HeaderName; 13] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::AGE,
    header::CONTENT_LENGTH,
    X_REQUEST_ID,
];
/// Fields that describe the stored body. A 304 does not replace them.
const OF_THE_BODY: [HeaderName; 2] = [header::CONTENT_ENCODING, header::CONTENT_RANGE];
/// Fields of a 304 to a client (RFC 9110, 15.4.5).
const OF_A_304: [HeaderName; 9] = [
    header::CACHE_CONTROL,
    CDN_CACHE_CONTROL,
    header::CONTENT_LOCATION,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::VARY,
    status::CACHE_STATUS,
];

/// A response of the cache.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
    /// The body, which a response to `HEAD` only announces.
    pub body: Bytes,
}

/// How an [`Answer`] came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// From the store.
    Hit,
    /// From the store, in place of an error.
    Replacement,
    /// From the store, after another request has put it there.
    Collapsed,
    /// From the store, after the component has validated it (304).
    Validated,
}

/// What a stored response consists of, beside its body.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) selection: Selection,
    pub(crate) freshness: Freshness,
    pub(crate) groups: Vec<Group>,
    /// The age at `stored`.
    pub(crate) initial_age: Duration,
    pub(crate) stored: Instant,
    /// When the response was generated, by its own date.
    pub(crate) generated: SystemTime,
    /// The count of invalidations when the request for this response began.
    pub(crate) begun: u64,
}

/// A stored response.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) head: Head,
    pub(crate) body: Bytes,
    /// Milliseconds after `stored` at which the next refresh in the background may begin.
    refresh_at: AtomicU64,
    charge: Charge,
}

/// The bytes of a body. They are charged until the last part of them is dropped, also by a client's connection.
struct Charged {
    data: Box<[u8]>,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

/// Puts a body under its charge.
pub(crate) fn charged(data: Box<[u8]>, mut charge: Charge) -> Bytes {
    charge.shrink(data.len());
    Bytes::from_owner(Charged { data, _charge: charge })
}

impl Head {
    /// The bytes that an entry with this head takes, beside its body.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Entry>()
            + field_bytes(&self.headers)
            + self.selection.bytes()
            + self.groups.iter().map(Group::bytes).sum::<usize>()
    }
}

impl Entry {
    pub(crate) fn new(head: Head, body: Bytes, charge: Charge) -> Arc<Self> {
        Arc::new(Self { head, body, refresh_at: AtomicU64::new(0), charge })
    }

    /// The bytes that go with the entry, if nobody reads its body.
    pub(crate) fn bytes(&self) -> usize {
        self.charge.bytes() + self.body.len()
    }

    /// The current age (RFC 9111, 4.2.3).
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.head.initial_age.saturating_add(now.saturating_duration_since(self.head.stored))
    }

    /// Whether a group of the response was invalidated after the request for the response began.
    pub(crate) fn is_invalidated(&self) -> bool {
        self.head.groups.iter().any(|group| group.invalidated() > self.head.begun)
    }

    /// Whether the response answers a request with these directives without being validated.
    pub(crate) fn satisfies(&self, request: &Directives, age: Duration) -> bool {
        let freshness = &self.head.freshness;
        if request.no_cache || request.no_store || freshness.always_validates {
            return false;
        }
        let seconds = |value: Option<u64>| value.map(Duration::from_secs);
        if seconds(request.max_age).is_some_and(|most| age >= most) {
            return false;
        }
        if let Some(least) = seconds(request.min_fresh) {
            return age.saturating_add(least) < freshness.lifetime;
        }
        freshness.is_fresh(age)
            || seconds(request.max_stale)
                .is_some_and(|most| freshness.allows_stale && age < freshness.lifetime.saturating_add(most))
    }

    /// Whether a refresh in the background may begin.
    pub(crate) fn is_refresh_due(&self, now: Instant) -> bool {
        self.since_stored(now) >= self.refresh_at.load(Relaxed)
    }

    /// A refresh in the background begins. If it fails, the next one may begin after a pause.
    pub(crate) fn refresh_begins(&self, now: Instant) {
        let pause = u64::try_from(REFRESH_PAUSE.as_millis()).unwrap_or(u64::MAX);
        self.refresh_at.store(self.since_stored(now).saturating_add(pause), Relaxed);
    }

    fn since_stored(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.head.stored).as_millis()).unwrap_or(u64::MAX)
    }

    /// The response to a request with this method and these headers.
    pub(crate) fn answer(&self, method: &Method, request: &HeaderMap, now: Instant, how: How) -> Answer {
        let head = &self.head;
        let is_success = head.status.is_success();
        if is_success && conditional::has_current(request, &head.headers, head.generated) {
            let mut headers = HeaderMap::with_capacity(OF_A_304.len() + 2);
            for name in OF_A_304 {
                for value in head.headers.get_all(&name) {
                    headers.append(name.clone(), value.clone());
                }
            }
            self.complete(&mut headers, now, how);
            return Answer { status: StatusCode::NOT_MODIFIED, headers, body: Bytes::new() };
        }
        let mut headers = head.headers.clone();
        self.complete(&mut headers, now, how);
        let mut answer = Answer { status: head.status, headers, body: self.body.clone() };
        if let Some(range) = request.get(header::RANGE)
            && *method == Method::GET
            && head.status == StatusCode::OK
            && conditional::may_have_part(request, &head.headers)
        {
            answer.select(range.as_bytes());
        }
        answer
    }

    fn complete(&self, headers: &mut HeaderMap, now: Instant, how: How) {
        let age = self.age(now);
        headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
        match how {
            How::Hit => status::add_hit(headers, self.head.freshness.lifetime, age),
            How::Replacement => status::add_replacement(headers),
            How::Collapsed => status::add_collapsed(headers),
            How::Validated => status::add_validated(headers),
        }
    }
}

impl Answer {
    /// Adds the fields of a 304 that has validated the response, and the age of the 304.
    pub(crate) fn update(&mut self, not_modified: &HeaderMap, age: Duration) {
        for name in not_modified.keys() {
            if is_updated(name, not_modified, &Directives::default()) && *name != status::CACHE_STATUS {
                self.headers.remove(name);
                for value in not_modified.get_all(name) {
                    self.headers.append(name.clone(), value.clone());
                }
            }
        }
        self.headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
    }

    /// Replaces the whole by the part that the field `Range` asks for.
    fn select(&mut self, range: &[u8]) {
        let length = self.body.len();
        let content_range = match range::requested(range, length) {
            Requested::Whole => return,
            Requested::Part(part) => {
                let text = format!("bytes {}-{}/{length}", part.start, part.end.saturating_sub(1));
                self.status = StatusCode::PARTIAL_CONTENT;
                self.body = self.body.slice(part);
                text
            }
            Requested::Unsatisfiable => {
                self.status = StatusCode::RANGE_NOT_SATISFIABLE;
                self.body = Bytes::new();
                format!("bytes */{length}")
            }
        };
        if let Ok(value) = HeaderValue::try_from(content_range) {
            self.headers.insert(header::CONTENT_RANGE, value);
        }
    }
}

/// The fields of a response that are stored, copied from the buffers in which they arrived. `None`: they take too many bytes.
pub(crate) fn stored_fields(
    response: &HeaderMap,
    directives: &Directives,
    received: SystemTime,
) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(response.keys_len() + 4);
    for (name, value) in response {
        if is_stored(name, response, directives) {
            headers.append(name.clone(), copied(value)?);
        }
    }
    // Each reuse replaces these. Without them, the copy of the map would have to grow for each reuse.
    headers.insert(header::AGE, HeaderValue::from_static("0"));
    headers.insert(X_REQUEST_ID, HeaderValue::from_static("0"));
    status::make_room(&mut headers);
    // RFC 9110, 6.6.1: a response without a date that is valid gets the time at which it arrived.
    if date::field(&headers, header::DATE).is_none() {
        headers.insert(header::DATE, HeaderValue::try_from(httpdate::fmt_http_date(received)).ok()?);
    }
    (field_bytes(&headers) <= MAX_FIELD_BYTES).then_some(headers)
}

/// The fields of a stored response after a 304 or a response to `HEAD` with the fields `update` (RFC 9111, 3.2).
pub(crate) fn updated_fields(
    stored: &HeaderMap,
    update: &HeaderMap,
    directives: &Directives,
) -> Option<HeaderMap> {
    let mut headers = stored.clone();
    for name in update.keys() {
        if !is_updated(name, update, directives) {
            continue;
        }
        headers.remove(name);
        for value in update.get_all(name) {
            headers.append(name.clone(), copied(value)?);
        }
    }
    (field_bytes(&headers) <= MAX_FIELD_BYTES).then_some(headers)
}

/// Whether the field of a 304 with the headers `update` replaces the stored one.
fn is_updated(name: &HeaderName, update: &HeaderMap, directives: &Directives) -> bool {
    is_stored(name, update, directives) && !OF_THE_BODY.contains(name)
}

fn is_stored(name: &HeaderName, response: &HeaderMap, directives: &Directives) -> bool {
    let is_named = || {
        let lines = response.get_all(header::CONNECTION).iter().map(HeaderValue::as_bytes);
        lines
            .flat_map(|line| line.split(|byte| *byte == b','))
            .any(|named| named.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
    };
    !NOT_STORED.contains(name) && !directives.unstored_fields.contains(name) && !is_named()
}

/// A copy of a value. A value that refers to a buffer would keep the whole buffer in memory.
fn copied(value: &HeaderValue) -> Option<HeaderValue> {
    HeaderValue::from_bytes(value.as_bytes()).ok()
}

/// The bytes that fields take.
pub(crate) fn field_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD).sum()
}
