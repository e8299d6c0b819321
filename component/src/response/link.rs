//! Our `Link` header (RFC 8288): references to the neighbours of a page.

use crate::github::link::Relations;
use crate::request::number::Page;
use crate::request::percent;
use crate::request::query::{self, GistQuery};
use crate::request::route::{self, Endpoint};

/// The longest query, in bytes, that our links repeat. A longer one is replaced by the known parameters.
const MAX_KEPT_QUERY: usize = 1024;

/// The value of `Link`: the relations `next`, `prev` and `first`, as far as they exist; `None` if there is none. The
/// references are relative. They keep the client's route, the case of the name, and all parameters but `page`. None
/// leads beyond [`Page::LAST`].
pub fn render(
    endpoint: Endpoint,
    name: &str,
    raw_query: &str,
    asked: GistQuery,
    relations: Relations,
) -> Option<String> {
    let next = asked.page.next().filter(|_| relations.next);
    let prev = asked.page.previous().filter(|_| relations.prev);
    let first = (asked.page > Page::FIRST).then_some(Page::FIRST);
    let path = route::reference(endpoint, name);
    let mut header = String::new();
    for (relation, page) in [("next", next), ("prev", prev), ("first", first)] {
        let Some(page) = page else { continue };
        if !header.is_empty() {
            header.push_str(", ");
        }
        header.push('<');
        header.push_str(&path);
        header.push('?');
        header.push_str(&query_of(page, raw_query, asked));
        header.push_str(">; rel=\"");
        header.push_str(relation);
        header.push('"');
    }
    (!header.is_empty()).then_some(header)
}

/// The client's query with another page number.
fn query_of(page: Page, raw: &str, asked: GistQuery) -> String {
    if raw.len() > MAX_KEPT_QUERY {
        return format!("page={page}&per_page={}&use_cache={}", asked.per_page, asked.use_cache);
    }
    let mut query = String::with_capacity(raw.len() + "&page=100".len());
    let mut placed = false;
    for (name, value) in query::pairs(raw) {
        let is_page = percent::decode_form(name) == "page";
        if is_page && placed {
            continue;
        }
        if !query.is_empty() {
            query.push('&');
        }
        if is_page {
            placed = true;
            query.push_str(&format!("page={page}"));
        } else {
            query.push_str(&percent::encode_query(name));
            query.push('=');
            query.push_str(&percent::encode_query(value));
        }
    }
    if !placed {
        query.push_str(if query.is_empty() { "" } else { "&" });
        query.push_str(&format!("page={page}"));
    }
    query
}

#[cfg(test)]
mod tests;
