//! A cache of response headers that the host already holds. Cloning them in the host costs less than passing a dozen
//! strings again.

use std::cell::RefCell;

use spin_sdk::wasip3::http::types::Fields;

use crate::response::Head;

/// The number of buckets is a power of two.
const BUCKETS: usize = 64;
/// The most heads of a bucket. A new one takes the place of the oldest. `Age` makes new heads every second.
const BUCKET: usize = 4;

/// Headers by the head that they are rendered from, in the bucket of its fingerprint.
pub(super) struct HeaderCache {
    buckets: [RefCell<Vec<(Head, Fields)>>; BUCKETS],
}

impl Default for HeaderCache {
    fn default() -> Self {
        Self { buckets: [const { RefCell::new(Vec::new()) }; BUCKETS] }
    }
}

impl HeaderCache {
    /// The headers of `head`.
    ///
    /// # Errors
    /// Why the host refuses a header.
    pub(super) fn fields(&self, head: &Head) -> Result<Fields, String> {
        let Some(bucket) = self.buckets.get(bucket(head.fingerprint())) else { return rendered(head) };
        let mut bucket = bucket.borrow_mut();
        if let Some((_, fields)) = bucket.iter().find(|(known, _)| known == head) {
            return Ok(fields.clone());
        }
        let fields = rendered(head)?;
        if head.is_repeatable() {
            if bucket.len() >= BUCKET {
                bucket.remove(0);
            }
            bucket.push((head.clone(), fields.clone()));
        }
        Ok(fields)
    }
}

/// The number of a fingerprint's bucket: the highest bits of a product in which all of its bits count.
fn bucket(fingerprint: u64) -> usize {
    /// 2^64 divided by the golden ratio.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    usize::try_from(fingerprint.wrapping_mul(FACTOR) >> (64 - BUCKETS.trailing_zeros())).unwrap_or_default()
}

/// Hands the headers of `head` over to the host.
fn rendered(head: &Head) -> Result<Fields, String> {
    let mut list = Vec::with_capacity(16);
    head.headers(|name, value| list.push((name.to_owned(), value.as_bytes().to_vec())));
    Fields::from_list(&list).map_err(|error| format!("response headers: {error:?}"))
}
