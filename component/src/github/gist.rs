//! From GitHub's list of gists to the body that we answer with.

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::cache::fingerprint;
use crate::request::number::{Page, PerPage};
use crate::response::link::Relations;

/// Gists in one answer at most: GitHub's pages hold no more.
pub const MAX_GISTS: usize = 100;
/// Files in one gist at most: GitHub lists 300.
pub const MAX_FILES: usize = 10_000;

/// A page of gists in our form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The JSON body up to its last member, `cache`, which [`complete`] appends.
    pub body: Vec<u8>,
    /// How many gists it has.
    pub count: u16,
    /// The hash of data and pagination, for the entity tag.
    pub etag: [u8; 16],
}

/// Why GitHub's body is no list of gists. For the log alone: it may quote what GitHub sent.
#[derive(Debug)]
pub struct Invalid(serde_json::Error);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no list of gists: {}", self.0)
    }
}

impl std::error::Error for Invalid {}

/// Turns GitHub's body into ours. Gists that are not public are left out, members that we do not know are ignored.
///
/// # Errors
/// [`Invalid`] if it is no JSON, no list, too long a list, or a gist lacks what ours has.
pub fn transform(
    github: &[u8],
    page: Page,
    per_page: PerPage,
    relations: Relations,
) -> Result<Listing, Invalid> {
    let mut body = Vec::with_capacity(github.len() / 2 + 256);
    body.extend_from_slice(b"{\"data\":[");
    let mut deserializer = serde_json::Deserializer::from_slice(github);
    let count = deserializer.deserialize_seq(Writer { body: &mut body }).map_err(Invalid)?;
    deserializer.end().map_err(Invalid)?;
    let pagination = Pagination {
        page: page.get(),
        per_page: per_page.get(),
        count,
        has_next: relations.next,
        has_prev: relations.prev,
    };
    body.extend_from_slice(b"],\"pagination\":");
    serde_json::to_writer(&mut body, &pagination).map_err(Invalid)?;
    let etag = fingerprint::of(&body);
    Ok(Listing { body, count, etag })
}

/// Appends the body's last member and its end.
pub fn complete(body: &mut Vec<u8>, hit: bool, ttl_seconds: u64) {
    // Writing to a vector cannot fail.
    let _ = write!(body, ",\"cache\":{{\"hit\":{hit},\"ttl_seconds\":{ttl_seconds}}}}}");
}

#[derive(serde::Serialize)]
struct Pagination {
    page: u8,
    per_page: u8,
    count: u16,
    has_next: bool,
    has_prev: bool,
}

/// Writes each public gist as soon as it is read, so that of a list only one is in memory twice. Counts them.
struct Writer<'b> {
    body: &'b mut Vec<u8>,
}

impl<'de> Visitor<'de> for Writer<'_> {
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

/// A gist: read with GitHub's names, written with ours, in this order.
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

/// Text that may be null: serde borrows a bare `Cow`, but copies one within an `Option`.
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Files by name, in GitHub's order.
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

/// Whether a member is `true`; whatever else it is, the gist is not to be shown.
fn is_true<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    <&RawValue>::deserialize(deserializer).map(|value| value.get() == "true")
}

#[cfg(test)]
mod tests;
