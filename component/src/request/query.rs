//! Validation of a request for gists: its name and its query, with all violations at once.

use std::borrow::Cow;

use crate::request::number::{self, IntegerError, OutOfRange, Page, PerPage};
use crate::request::percent;
use crate::request::rejection::Rejection;
use crate::request::username::{Username, UsernameError};
use crate::request::violation::{Parameter, Violation, ViolationKind};
use crate::text;

/// The parameters of a request for gists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GistQuery {
    /// The number of the page; by default the first.
    pub page: Page,
    /// The page size; by default 30.
    pub per_page: PerPage,
    /// Whether a stored page may be answered; by default it may. `use_cache=false` asks GitHub in any case.
    pub use_cache: bool,
}

impl Default for GistQuery {
    fn default() -> Self {
        Self { page: Page::FIRST, per_page: PerPage::DEFAULT, use_cache: true }
    }
}

/// Validates a percent-decoded name and a raw query (without its `?`) as FastAPI does. All violations are collected
/// first, the name's before the query's. Only a request without violations is checked for a name that no user can
/// have.
///
/// # Errors
/// [`Rejection::Invalid`] or [`Rejection::NoSuchUser`].
pub fn validate(name: &str, query: &str) -> Result<(Username, GistQuery), Rejection> {
    let mut violations = Vec::new();
    let username = Username::new(name);
    if username == Err(UsernameError::TooLong) {
        violations.push(Violation::new(Parameter::Username, ViolationKind::TooLong, name));
    }
    let query = GistQuery::read(query, &mut violations);
    if !violations.is_empty() {
        return Err(Rejection::Invalid(violations));
    }
    let username = username.map_err(|_| Rejection::NoSuchUser { name: name.to_owned() })?;
    Ok((username, query))
}

impl GistQuery {
    /// Reads a raw query. An invalid parameter adds to `violations` and keeps its default.
    fn read(query: &str, violations: &mut Vec<Violation>) -> Self {
        let mut read = Self::default();
        if query.is_empty() {
            return read;
        }
        let parameters = RawParameters::find(query);
        if let Some(text) = parameters.page {
            match integer(&text, Page::new) {
                Ok(page) => read.page = page,
                Err(kind) => violations.push(Violation::new(Parameter::Page, kind, &text)),
            }
        }
        if let Some(text) = parameters.per_page {
            match integer(&text, PerPage::new) {
                Ok(per_page) => read.per_page = per_page,
                Err(kind) => violations.push(Violation::new(Parameter::PerPage, kind, &text)),
            }
        }
        if let Some(text) = parameters.use_cache {
            match number::boolean(&text) {
                Some(use_cache) => read.use_cache = use_cache,
                None => violations.push(Violation::new(Parameter::UseCache, ViolationKind::NoBoolean, &text)),
            }
        }
        read
    }
}

fn integer<T>(text: &str, within: fn(i64) -> Result<T, OutOfRange>) -> Result<T, ViolationKind> {
    let value = number::integer(text).map_err(|error| match error {
        IntegerError::Malformed => ViolationKind::NoInteger,
        IntegerError::TooLong => ViolationKind::IntegerTooLong,
    })?;
    within(value).map_err(|side| match side {
        OutOfRange::Low => ViolationKind::TooLow,
        OutOfRange::High => ViolationKind::TooHigh,
    })
}

/// The known parameters of a query, decoded. Of a repeated parameter, the last counts.
#[derive(Default)]
struct RawParameters<'a> {
    page: Option<Cow<'a, str>>,
    per_page: Option<Cow<'a, str>>,
    use_cache: Option<Cow<'a, str>>,
}

impl<'a> RawParameters<'a> {
    fn find(query: &'a str) -> Self {
        let mut found = Self::default();
        for (name, value) in pairs(query) {
            let slot = match &*percent::decode_form(name) {
                "page" => &mut found.page,
                "per_page" => &mut found.per_page,
                "use_cache" => &mut found.use_cache,
                _ => continue,
            };
            *slot = Some(percent::decode_form(value));
        }
        found
    }
}

/// The raw names and values of a query, in order. A name without `=` has an empty value.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = Some(query);
    let pairs = std::iter::from_fn(move || {
        let query = rest?;
        let (pair, behind) = match text::split_once(query, b'&') {
            Some((pair, behind)) => (pair, Some(behind)),
            None => (query, None),
        };
        rest = behind;
        Some(pair)
    });
    pairs.filter(|pair| !pair.is_empty()).map(|pair| text::split_once(pair, b'=').unwrap_or((pair, "")))
}

#[cfg(test)]
mod tests;
