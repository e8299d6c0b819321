//! What is stored of a component's response (RFC 9111, 3).

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::{
    conditional, date,
    entry::{self, Entry, Head},
    fetch::Fetch,
    freshness::{self, Freshness},
    groups,
    shard::RESOURCE_OVERHEAD,
    targeted::Applicable,
    vary::Selection,
};

/// The statuses that the cache understands (RFC 9111, 5.2.2.3).
const UNDERSTOOD: [u16; 30] = [
    200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 406, 409, 410, 411, 412, 413, 414,
    415, 422, 429, 451, 500, 501, 502, 503, 504,
];

impl Fetch {
    /// What is stored of a response, beside its body. `None`: it must not be stored, or it could never be reused.
    pub(crate) fn head(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        now: Instant,
        received: SystemTime,
    ) -> Option<Head> {
        let is_partial = matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED);
        if !self.may_store || is_partial || status.is_informational() {
            return None;
        }
        let applicable = Applicable::of(headers);
        let freshness = self.freshness(status, headers, &applicable, received)?;
        let stored = entry::stored_fields(headers, &applicable.directives, received)?;
        self.complete(status, stored, headers, freshness, now, received)
    }

    /// The limits of reuse. `None`: the response must not be stored.
    fn freshness(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        applicable: &Applicable,
        received: SystemTime,
    ) -> Option<Freshness> {
        let directives = &applicable.directives;
        let is_understood = UNDERSTOOD.contains(&status.as_u16());
        // RFC 9111, 5.2.2.3.
        let no_store = if directives.must_understand { !is_understood } else { directives.no_store };
        if no_store || directives.private {
            return None;
        }
        let is_for_shared = directives.public || directives.s_maxage.is_some();
        if self.is_authenticated && !is_for_shared && !directives.must_revalidate {
            return None;
        }
        let sets_cookie = headers.contains_key(header::SET_COOKIE)
            && !directives.unstored_fields.contains(&header::SET_COOKIE);
        if sets_cookie && !(is_for_shared || applicable.is_targeted || self.space.state.settings.set_cookie) {
            return None;
        }
        let is_pragma = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"no-cache");
        // No lifetime is assumed for a response that may be meant for one client.
        let may_assume = !sets_cookie
            && !self.request.contains_key(header::COOKIE)
            && !headers.get_all(header::PRAGMA).iter().any(is_pragma);
        Freshness::of(status, headers, applicable, received, may_assume)
    }

    /// `stored` are the fields to be stored, and `arrived` those that have arrived.
    fn complete(
        &self,
        status: StatusCode,
        stored: HeaderMap,
        arrived: &HeaderMap,
        freshness: Freshness,
        now: Instant,
        received: SystemTime,
    ) -> Option<Head> {
        let selection = Selection::new(&stored, &self.request)?;
        let groups = groups::groups(&stored, &groups::CACHE_GROUPS).ok()?;
        let head = Head {
            status,
            selection,
            freshness,
            groups: groups.iter().map(|group| self.space.groups.join(group)).collect(),
            initial_age: self.initial_age(arrived, now, received),
            stored: now,
            generated: date::field(&stored, header::DATE).unwrap_or(received),
            begun: self.begun,
            headers: stored,
        };
        let can_validate = conditional::has_validator(&head.headers);
        let age = head.initial_age;
        let is_useful = can_validate
            || freshness.is_fresh(age)
            || freshness.allows_stale
                && (freshness.may_refresh_later(age) || freshness.may_replace_error(age));
        is_useful.then_some(head)
    }

    /// The age of a response with these fields when it arrives.
    pub(crate) fn initial_age(&self, arrived: &HeaderMap, now: Instant, received: SystemTime) -> Duration {
        freshness::initial_age(arrived, received, now.saturating_duration_since(self.started))
    }

    /// A stored response with the fields of `update`. `None`: it must no longer be stored.
    pub(crate) fn updated(
        &self,
        stale: &Arc<Entry>,
        update: &HeaderMap,
        now: Instant,
        received: SystemTime,
    ) -> Option<Arc<Entry>> {
        let directives = Applicable::of(update).directives;
        let mut headers = entry::updated_fields(&stale.head.headers, update, &directives)?;
        if date::field(update, header::DATE).is_none() {
            headers.insert(header::DATE, HeaderValue::try_from(httpdate::fmt_http_date(received)).ok()?);
        }
        let applicable = Applicable::of(&headers);
        let status = stale.head.status;
        let freshness = self.freshness(status, &headers, &applicable, received)?;
        let head = self.complete(status, headers, update, freshness, now, received)?;
        let charge = self.space.state.store.charge(self.head_bytes(&head))?;
        Some(Entry::new(head, stale.body.clone(), charge))
    }

    /// The bytes that an entry with this head takes, beside its body.
    pub(crate) fn head_bytes(&self, head: &Head) -> usize {
        head.bytes() + self.key.bytes() + RESOURCE_OVERHEAD
    }
}
