//! Reading a request for gists: its name and query, all failures at once.

use std::borrow::Cow;

use crate::request::number::{self, IntegerError, OutOfRange, Page, PerPage};
use crate::request::percent;
use crate::request::username::{Username, UsernameError};
use crate::request::violation::{Kind, Parameter, Violation};
use crate::response::error::Error;

/// What the query asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GistQuery {
    /// `page`, the first by default.
    pub page: Page,
    /// `per_page`, 30 by default.
    pub per_page: PerPage,
    /// `use_cache`, true by default.
    pub use_cache: bool,
}

impl Default for GistQuery {
    fn default() -> Self {
        Self { page: Page::FIRST, per_page: PerPage::DEFAULT, use_cache: true }
    }
}

/// Validates a percent-decoded name and a raw query (without its `?`), as FastAPI would: first everything that can
/// be wrong with the form, all at once, the name before the query; only then whether such a user can exist.
///
/// # Errors
/// [`Error::Invalid`] or [`Error::UserNotFound`].
pub fn validate(name: &str, query: &str) -> Result<(Username, GistQuery), Error> {
    let mut violations = Vec::new();
    let username = Username::new(name);
    if username == Err(UsernameError::TooLong) {
        violations.push(Violation::new(Parameter::Username, Kind::TooLong, name));
    }
    let query = GistQuery::read(query, &mut violations);
    if !violations.is_empty() {
        return Err(Error::Invalid(violations));
    }
    let username = username.map_err(|_| Error::UserNotFound { name: name.to_owned(), max_age: None })?;
    Ok((username, query))
}

impl GistQuery {
    /// Reads a raw query. Each failure is pushed on `violations` and leaves its default in place.
    fn read(query: &str, violations: &mut Vec<Violation>) -> Self {
        let mut read = Self::default();
        if query.is_empty() {
            return read;
        }
        let asked = Asked::find(query);
        if let Some(text) = asked.page {
            match integer(&text, Page::new) {
                Ok(page) => read.page = page,
                Err(kind) => violations.push(Violation::new(Parameter::Page, kind, &text)),
            }
        }
        if let Some(text) = asked.per_page {
            match integer(&text, PerPage::new) {
                Ok(per_page) => read.per_page = per_page,
                Err(kind) => violations.push(Violation::new(Parameter::PerPage, kind, &text)),
            }
        }
        if let Some(text) = asked.use_cache {
            match number::boolean(&text) {
                Some(use_cache) => read.use_cache = use_cache,
                None => violations.push(Violation::new(Parameter::UseCache, Kind::NoBoolean, &text)),
            }
        }
        read
    }
}

fn integer<T>(text: &str, within: fn(i64) -> Result<T, OutOfRange>) -> Result<T, Kind> {
    let value = number::integer(text).map_err(|error| match error {
        IntegerError::Malformed => Kind::NoInteger,
        IntegerError::TooLong => Kind::IntegerTooLong,
    })?;
    within(value).map_err(|side| match side {
        OutOfRange::Low => Kind::TooLow,
        OutOfRange::High => Kind::TooHigh,
    })
}

/// The parameters that we know, as the query gives them: decoded, of a repeated one the last.
#[derive(Default)]
struct Asked<'a> {
    page: Option<Cow<'a, str>>,
    per_page: Option<Cow<'a, str>>,
    use_cache: Option<Cow<'a, str>>,
}

impl<'a> Asked<'a> {
    fn find(query: &'a str) -> Self {
        let mut asked = Self::default();
        for (name, value) in pairs(query) {
            let slot = match &*percent::decode_form(name) {
                "page" => &mut asked.page,
                "per_page" => &mut asked.per_page,
                "use_cache" => &mut asked.use_cache,
                _ => continue,
            };
            *slot = Some(percent::decode_form(value));
        }
        asked
    }
}

/// The raw names and values of a query, in order; a name without `=` has the empty value.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

#[cfg(test)]
mod tests;
