//! The transformation of GitHub's list of gists into the body of our answer.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_128;

use crate::github::link::Relations;
use crate::request::number::{Page, PerPage};
use crate::text;

/// The most gists that one list may have: GitHub's largest page.
pub const MAX_GISTS: usize = 100;
/// The most files that one gist may have. GitHub lists at most 300.
pub const MAX_FILES: usize = 10_000;

/// A page of gists in our form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The JSON body without its last member, `cache`, and without its end: [`complete`] appends both.
    pub body: Vec<u8>,
    /// How many gists the page has.
    pub count: u16,
    /// The XXH3 hash (128 bits) of data and pagination, for the entity tag. The hash is not cryptographic: users who make
    /// two of their own pages collide only keep clients' copies of those pages stale.
    pub etag: [u8; 16],
}

/// GitHub's body is not a list of gists. The error may quote the body, so it must not be logged or answered.
#[derive(Debug)]
pub struct InvalidListing(serde_json::Error);

impl fmt::Display for InvalidListing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a list of gists: {}", self.0)
    }
}

impl std::error::Error for InvalidListing {}

/// Transforms GitHub's body into ours. Leaves out the gists that are not public, and ignores unknown members.
///
/// # Errors
/// [`InvalidListing`] if the body is not JSON or not a list, if the list or a gist is too long, or if a gist lacks a
/// member that ours has.
pub fn transform(
    github: &[u8],
    page: Page,
    per_page: PerPage,
    relations: Relations,
) -> Result<Listing, InvalidListing> {
    let mut body = Vec::with_capacity(github.len() / 2 + 256);
    body.extend_from_slice(b"{\"data\":[");
    let mut deserializer = serde_json::Deserializer::from_slice(github);
    let count = deserializer.deserialize_seq(ListingWriter { body: &mut body }).map_err(InvalidListing)?;
    deserializer.end().map_err(InvalidListing)?;
    body.extend_from_slice(b"]");
    body.extend_from_slice(&pagination(page, per_page, count, relations)?);
    Ok(Listing::new(body, count))
}

impl Listing {
    fn new(body: Vec<u8>, count: u16) -> Self {
        let etag = xxh3_128(&body).to_be_bytes();
        Self { body, count, etag }
    }

    /// The listing whose body is `body`, which has the neighbours `before`, with the neighbours `after`. `None` if `body`
    /// is no body of [`transform`] for the same page.
    #[must_use]
    pub fn with_relations(
        (body, count): (&[u8], u16),
        (page, per_page): (Page, PerPage),
        before: Relations,
        after: Relations,
    ) -> Option<Self> {
        let data = body.strip_suffix(&*pagination(page, per_page, count, before).ok()?)?;
        let body = [data, &pagination(page, per_page, count, after).ok()?].concat();
        Some(Self::new(body, count))
    }
}

/// The member `pagination` of the body, with the comma before it.
fn pagination(
    page: Page,
    per_page: PerPage,
    count: u16,
    relations: Relations,
) -> Result<Vec<u8>, InvalidListing> {
    let pagination = Pagination {
        page: page.get(),
        per_page: per_page.get(),
        count,
        has_next: relations.next,
        has_prev: relations.prev,
    };
    let mut member = b",\"pagination\":".to_vec();
    serde_json::to_writer(&mut member, &pagination).map_err(InvalidListing)?;
    Ok(member)
}

/// Appends the last member and the end of the body. `hit` says whether the page comes from the cache; `ttl_seconds` is
/// the setting `cache_ttl`.
pub fn complete(body: &mut Vec<u8>, hit: bool, ttl_seconds: u64) {
    let mut member = String::with_capacity(64);
    member.push_str(if hit {
        r#","cache":{"hit":true,"ttl_seconds":"#
    } else {
        r#","cache":{"hit":false,"ttl_seconds":"#
    });
    text::push_number(&mut member, ttl_seconds);
    member.push_str("}}");
    body.extend_from_slice(member.as_bytes());
}

#[derive(serde::Serialize)]
struct Pagination {
    page: u8,
    per_page: u8,
    count: u16,
    has_next: bool,
    has_prev: bool,
}

/// Writes each public gist as soon as it is parsed, so that only one gist at a time is in memory twice. Its value is
/// the number of gists that it wrote.
struct ListingWriter<'b> {
    body: &'b mut Vec<u8>,
}

impl<'de> Visitor<'de> for ListingWriter<'_> {
    type Value = u16;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of gists")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<u16, A::Error> {
        let (mut listed, mut count) = (0, 0);
        while let Some(gist) = list.next_element::<Gist<'de>>()? {
            listed += 1;
            if listed > MAX_GISTS {
                return Err(A::Error::custom(format_args!("more than {MAX_GISTS} gists")));
            }
            if !gist.public {
                continue;
            }
            if count > 0 {
                self.body.push(b',');
            }
            serde_json::to_writer(&mut *self.body, &gist).map_err(A::Error::custom)?;
            count += 1;
        }
        Ok(count)
    }
}

/// A gist: parsed with GitHub's names, written with ours, in the order of the fields.
#[derive(serde::Deserialize, serde::Serialize)]
struct Gist<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    description: Option<Text<'a>>,
    #[serde(borrow, rename(deserialize = "html_url", serialize = "url"))]
    html_url: Cow<'a, str>,
    #[serde(borrow)]
    created_at: Cow<'a, str>,
    #[serde(borrow)]
    files: Files<'a>,
    #[serde(default, deserialize_with = "is_true", skip_serializing)]
    public: bool,
}

#[derive(serde::Deserialize, serde::Serialize)]
struct File<'a> {
    #[serde(borrow)]
    filename: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    media_type: Cow<'a, str>,
    #[serde(borrow)]
    language: Option<Text<'a>>,
    #[serde(borrow)]
    raw_url: Cow<'a, str>,
    size: u64,
}

/// Text within an `Option`: serde borrows a plain `Cow`, but would copy one that is in an `Option`.
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The files of a gist by name, in GitHub's order.
struct Files<'a>(Vec<(Text<'a>, File<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Files<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ByName;

        impl<'de> Visitor<'de> for ByName {
            type Value = Files<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("files by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Files<'de>, A::Error> {
                let mut files = Vec::new();
                while let Some(file) = map.next_entry()? {
                    if files.len() == MAX_FILES {
                        return Err(A::Error::custom(format_args!("more than {MAX_FILES} files")));
                    }
                    files.push(file);
                }
                Ok(Files(files))
            }
        }

        deserializer.deserialize_map(ByName)
    }
}

impl Serialize for Files<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, file)| (name, file)))
    }
}

/// Whether a member is `true`. With any other value, the gist must not be shown.
fn is_true<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    <&RawValue>::deserialize(deserializer).map(|value| value.get() == "true")
}

#[cfg(test)]
mod tests;
