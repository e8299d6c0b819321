//! A cache of response headers that the host already holds. Cloning them in the host costs less than passing a dozen
//! strings again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use spin_sdk::wasip3::http::types::{ErrorCode, Fields};

use crate::response::Head;

/// The most heads that are cached. When there are more, all are dropped. `Age` makes new heads every second.
const MAX_HEADS: usize = 256;

/// Headers by the head that they are rendered from.
#[derive(Default)]
pub(super) struct HeaderCache {
    rendered: RefCell<HashMap<Head, Fields, BuildHasherDefault<DefaultHasher>>>,
}

impl HeaderCache {
    /// The headers of `head`.
    ///
    /// # Errors
    /// [`ErrorCode::InternalError`] if the host refuses a header.
    pub(super) fn fields(&self, head: &Head) -> Result<Fields, ErrorCode> {
        let mut rendered = self.rendered.borrow_mut();
        if let Some(fields) = rendered.get(head) {
            return Ok(fields.clone());
        }
        let mut list = Vec::with_capacity(16);
        head.headers(|name, value| list.push((name.to_owned(), value.as_bytes().to_vec())));
        let fields = Fields::from_list(&list)
            .map_err(|error| ErrorCode::InternalError(Some(format!("response headers: {error:?}"))))?;
        if head.is_repeatable() {
            if rendered.len() >= MAX_HEADS {
                rendered.clear();
            }
            rendered.insert(head.clone(), fields.clone());
        }
        Ok(fields)
    }
}
