//! `Link` headers (RFC 8288): reading GitHub's, writing ours.

use crate::request::number::Page;
use crate::request::percent;
use crate::request::query::{self, GistQuery};
use crate::request::route::{self, Endpoint};

/// Bytes of GitHub's header that are read: its own has about 400.
pub const MAX_LENGTH: usize = 16 * 1024;

/// Bytes of an asked query that our links repeat whole; of a longer one, only what we know ourselves.
const MAX_KEPT_QUERY: usize = 1024;

/// Which neighbours of a page exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Relations {
    /// There is a next page.
    pub next: bool,
    /// There is a previous page.
    pub prev: bool,
}

impl Relations {
    /// Reads GitHub's `Link`; several fields are joined by commas. Only the relation types count: the targets are of
    /// another form (`/user/<id>/gists?…`) than what was asked. What is malformed ends the reading, without error.
    pub fn parse(header: &str) -> Self {
        let mut cut = header.len().min(MAX_LENGTH);
        while !header.is_char_boundary(cut) {
            cut -= 1;
        }
        let mut rest = header.get(..cut).unwrap_or_default();
        let mut relations = Self::default();
        while let Some(behind) = relations.read_value(rest) {
            rest = behind;
        }
        relations
    }

    /// Reads one `<target>; name=value; …` and returns what stands behind it.
    fn read_value<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let text = text.trim_start_matches(|c: char| c == ',' || is_space(c));
        let (_target, mut rest) = text.strip_prefix('<')?.split_once('>')?;
        let mut seen_rel = false;
        loop {
            rest = rest.trim_start_matches(is_space);
            let Some(parameter) = rest.strip_prefix(';') else { return Some(rest) };
            let parameter = parameter.trim_start_matches(is_space);
            let end = parameter.find(|c: char| matches!(c, '=' | ';' | ',') || is_space(c));
            let (name, behind) = parameter.split_at(end.unwrap_or(parameter.len()));
            rest = behind.trim_start_matches(is_space);
            let Some(value) = rest.strip_prefix('=') else { continue };
            let (value, behind) = token_or_quoted(value.trim_start_matches(is_space))?;
            rest = behind;
            // Of several `rel`s in one value the first counts (RFC 8288, 3.3).
            if name.eq_ignore_ascii_case("rel") && !seen_rel {
                seen_rel = true;
                for relation in value.split_ascii_whitespace() {
                    self.next |= relation.eq_ignore_ascii_case("next");
                    self.prev |=
                        relation.eq_ignore_ascii_case("prev") || relation.eq_ignore_ascii_case("previous");
                }
            }
        }
    }
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

/// A parameter's value and what stands behind it. Escapes stay: no relation type has any.
fn token_or_quoted(text: &str) -> Option<(&str, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| matches!(c, ';' | ',') || is_space(c));
        return Some(text.split_at(end.unwrap_or(text.len())));
    };
    let mut escaped = false;
    let end = quoted.find(|c: char| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some((quoted.get(..end)?, quoted.get(end + 1..)?))
}

/// Our own `Link`: next, prev, first, as far as they exist; `None` where none does. References are relative and keep the
/// asked route, the name's case and the query with its other parameters; none leads beyond the last page that can be asked.
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

/// The asked query, for another page.
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
