//! Groups of responses that are invalidated together (RFC 9875).
//!
//! A group spans the responses of one component for all of its authorities, because the component answers for all of them. RFC
//! 9875 lets a cache invalidate more than it must.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, List, ListEntry, Parser};
use wasi_http_host_core::lock;

/// The groups that a response belongs to.
pub const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
/// The groups that a response to an unsafe request invalidates.
pub const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// The most groups of one response. The standard asks for at least 32.
pub const MAX_GROUPS: usize = 64;
/// The most bytes of a group's name. The standard asks for at least 32.
pub const MAX_NAME_BYTES: usize = 128;

/// The groups in the field `name`. Members that are no strings are left out.
///
/// # Errors
/// The field is not valid, or has more groups or longer names than the limits.
pub fn groups(headers: &HeaderMap, name: &HeaderName) -> Result<Vec<String>, TooMany> {
    let mut lines = headers.get_all(name).iter();
    let Some(first) = lines.next() else { return Ok(Vec::new()) };
    let mut text = first.as_bytes().to_vec();
    for line in lines {
        text.extend_from_slice(b", ");
        text.extend_from_slice(line.as_bytes());
    }
    let list: List = Parser::new(&text).parse().map_err(|_| TooMany)?;
    let mut groups = Vec::new();
    for entry in list {
        let ListEntry::Item(item) = entry else { continue };
        let BareItem::String(group) = item.bare_item else { continue };
        if groups.len() == MAX_GROUPS || group.as_str().len() > MAX_NAME_BYTES {
            return Err(TooMany);
        }
        groups.push(group.as_str().to_owned());
    }
    Ok(groups)
}

/// A field of groups that the cache does not follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// What a group takes in its table beside its name.
const GROUP_OVERHEAD: usize = 128;
/// The least number of groups in a table before those without responses are removed.
const LEAST_SWEEP: usize = 64;

/// A group that a stored response belongs to. All responses of the group share the state.
#[derive(Clone, Debug)]
pub(crate) struct Group(Arc<State>);

#[derive(Debug)]
struct State {
    /// The count of invalidations at the last invalidation of the group.
    invalidated: AtomicU64,
    name_bytes: usize,
}

impl Group {
    /// The count of invalidations at the last invalidation of the group.
    pub(crate) fn invalidated(&self) -> u64 {
        self.0.invalidated.load(SeqCst)
    }

    /// The bytes that the group takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.0.name_bytes + GROUP_OVERHEAD
    }
}

/// The groups of one component's stored responses.
#[derive(Debug, Default)]
pub(crate) struct GroupTable(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    groups: HashMap<Box<str>, Weak<State>>,
    /// The count of invalidations at the last invalidation of any group. It holds for groups that are not in the table.
    invalidated: u64,
    sweep_at: usize,
}

impl GroupTable {
    /// The group of this name.
    pub(crate) fn join(&self, name: &str) -> Group {
        let mut table = lock(&self.0);
        if let Some(state) = table.groups.get(name).and_then(Weak::upgrade) {
            return Group(state);
        }
        if table.groups.len() >= table.sweep_at {
            table.groups.retain(|_, state| state.strong_count() > 0);
            table.sweep_at = (2 * table.groups.len()).max(LEAST_SWEEP);
        }
        let state = Arc::new(State { invalidated: table.invalidated.into(), name_bytes: name.len() });
        table.groups.insert(name.into(), Arc::downgrade(&state));
        Group(state)
    }

    /// Invalidates the responses of the group, also those whose requests have begun before this invalidation, which has the
    /// number `count`. Returns whether there may be such responses in the store.
    pub(crate) fn invalidate(&self, name: &str, count: u64) -> bool {
        let mut table = lock(&self.0);
        table.invalidated = table.invalidated.max(count);
        match table.groups.get(name).and_then(Weak::upgrade) {
            Some(state) => {
                state.invalidated.fetch_max(count, SeqCst);
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(lines: &[&str]) -> Result<Vec<String>, TooMany> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_GROUPS, HeaderValue::from_str(line).unwrap());
        }
        groups(&headers, &CACHE_GROUPS)
    }

    #[test]
    fn groups_are_strings() {
        assert_eq!(read(&[]), Ok(vec![]));
        assert_eq!(
            read(&[r#""a", "b c";x=1, token, 1, ("d")"#, r#""A""#]),
            Ok(["a", "b c", "A"].map(str::to_owned).to_vec())
        );
        assert_eq!(read(&["\"a"]), Err(TooMany));
    }

    #[test]
    fn their_number_and_their_names_are_bounded() {
        let many = |count: usize| vec!["\"a\""; count].join(", ");
        assert_eq!(read(&[&many(MAX_GROUPS)]).map(|groups| groups.len()), Ok(MAX_GROUPS));
        assert_eq!(read(&[&many(MAX_GROUPS + 1)]), Err(TooMany));
        let long = |bytes: usize| format!("\"{}\"", "x".repeat(bytes));
        assert!(read(&[&long(MAX_NAME_BYTES)]).is_ok());
        assert_eq!(read(&[&long(MAX_NAME_BYTES + 1)]), Err(TooMany));
    }

    #[test]
    fn an_invalidation_reaches_responses_whose_requests_began_before() {
        let table = GroupTable::default();
        let stored = table.join("a");
        assert_eq!(stored.invalidated(), 0);
        assert!(table.invalidate("a", 1) && !table.invalidate("b", 2));
        assert_eq!(stored.invalidated(), 1);
        // No stored response was in the group when the group was invalidated.
        assert_eq!(table.join("b").invalidated(), 2);
        assert_eq!(table.join("a").invalidated(), 1, "the group itself is known");
    }

    #[test]
    fn groups_without_responses_are_removed() {
        let table = GroupTable::default();
        for at in 0..10_000 {
            table.join(&at.to_string());
        }
        assert!(lock(&table.0).groups.len() <= LEAST_SWEEP);
    }
}
