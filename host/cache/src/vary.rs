//! The fields of a request that select among the responses for one address (RFC 9111, 4.1).

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::directives::{members, parts};

/// The most fields that `Vary` may name.
const MAX_FIELDS: usize = 16;
/// The most bytes of the selecting fields' values.
const MAX_BYTES: usize = 4 << 10;

/// Fields that the host writes into each request. A component sees the host's value, and the cache sees the client's: a
/// response that varies by such a field is not stored.
pub const SET_BY_HOST: [HeaderName; 7] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("spin-client-addr"),
    header::FORWARDED,
    HeaderName::from_static("client-cert"),
    HeaderName::from_static("client-cert-chain"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// The selecting fields of a stored response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection(Box<[Field]>);

/// A selecting field.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: HeaderName,
    /// The normalised value in the request that the response answers. `None`: that request has no such field.
    value: Option<Box<[u8]>>,
}

impl Selection {
    /// The selecting fields of a response with the headers `response` to a request with the headers `request`. `None`: no
    /// other request can be known to match, or there are too many fields.
    #[must_use]
    pub fn new(response: &HeaderMap, request: &HeaderMap) -> Option<Self> {
        let mut names = Vec::new();
        for line in response.get_all(header::VARY) {
            for member in members(line.as_bytes()) {
                let name = HeaderName::from_bytes(member).ok().filter(|name| *name != "*")?;
                if SET_BY_HOST.contains(&name) || names.len() == MAX_FIELDS {
                    return None;
                }
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        // A component that forgets to say so would have clients get a coding that they cannot read.
        if response.contains_key(header::CONTENT_ENCODING) && !names.contains(&header::ACCEPT_ENCODING) {
            names.push(header::ACCEPT_ENCODING);
        }
        let fields = names.into_iter().map(|name| {
            let value = normalised(&name, request).map(|value| Box::from(&*value));
            Field { name, value }
        });
        let fields: Box<[Field]> = fields.collect();
        let bytes: usize = fields.iter().flat_map(|field| &field.value).map(|value| value.len()).sum();
        (bytes <= MAX_BYTES).then_some(Self(fields))
    }

    /// Whether the response may answer a request with these headers.
    #[must_use]
    pub fn matches(&self, request: &HeaderMap) -> bool {
        self.0.iter().all(|field| normalised(&field.name, request).as_deref() == field.value.as_deref())
    }

    /// Calls `each` with each value of a request with these headers that these fields select.
    pub(crate) fn values(&self, request: &HeaderMap, mut each: impl FnMut(Option<&[u8]>)) {
        for field in &self.0 {
            each(normalised(&field.name, request).as_deref());
        }
    }

    /// The bytes that the fields take.
    pub(crate) fn bytes(&self) -> usize {
        let field = |field: &Field| {
            size_of::<Field>()
                + field.name.as_str().len()
                + field.value.as_ref().map_or(0, |value| value.len())
        };
        self.0.iter().map(field).sum()
    }
}

/// The value of the field `name`, as one line, in a form that is the same for values that mean the same.
fn normalised<'a>(name: &HeaderName, headers: &'a HeaderMap) -> Option<Cow<'a, [u8]>> {
    let mut lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let first = lines.next()?;
    let second = lines.next();
    // Nearly all values are one line without a list.
    if second.is_none() && !first.contains(&b',') && *name != header::ACCEPT_LANGUAGE {
        return Some(Cow::Borrowed(first.trim_ascii()));
    }
    let mut value = Vec::new();
    for (at, line) in [Some(first), second].into_iter().flatten().chain(lines).enumerate() {
        if *name == header::COOKIE {
            // The crumbs of HTTP/2 are one `Cookie` field in HTTP/1 (RFC 9113, 8.2.3).
            value.extend_from_slice(if at > 0 { b"; " } else { b"" });
            value.extend_from_slice(line.trim_ascii());
            continue;
        }
        // Only white space is left out. A component may take empty members for values.
        for (part_at, part) in parts(line).enumerate() {
            value.extend_from_slice(if at + part_at > 0 { b"," } else { b"" });
            if *name == header::ACCEPT_LANGUAGE {
                language_range(part, &mut value);
            } else {
                value.extend_from_slice(part);
            }
        }
    }
    Some(Cow::Owned(value))
}

/// Adds a member of `Accept-Language`. Languages have no case (RFC 5646, 2.1.1), and there may be white space around the
/// semicolon (RFC 9110, 12.5.4).
fn language_range(member: &[u8], value: &mut Vec<u8>) {
    for (at, part) in member.split(|byte| *byte == b';').enumerate() {
        value.extend_from_slice(if at > 0 { b";" } else { b"" });
        value.extend(part.trim_ascii().iter().map(u8::to_ascii_lowercase));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::header_map;

    #[test]
    fn a_response_answers_requests_with_the_same_selecting_fields() {
        let request = header_map(&[("foo", "1"), ("bar", "abc"), ("other", "x")]);
        let selection =
            Selection::new(&header_map(&[("vary", "Foo, bar"), ("vary", "baz")]), &request).unwrap();
        assert!(selection.matches(&header_map(&[("bar", "abc"), ("foo", "1")])));
        for other in [
            &[("foo", "2"), ("bar", "abc")][..],
            &[("foo", "1")],
            &[("foo", "1"), ("bar", "abc"), ("baz", "")],
            &[("foo", "1"), ("foo", "1"), ("bar", "abc")],
        ] {
            assert!(!selection.matches(&header_map(other)), "{other:?}");
        }
    }

    #[test]
    fn a_coded_response_answers_only_who_accepts_the_same() {
        let coded = header_map(&[("content-encoding", "gzip")]);
        let selection = Selection::new(&coded, &header_map(&[("accept-encoding", "gzip")])).unwrap();
        assert!(selection.matches(&header_map(&[("accept-encoding", "gzip")])));
        assert!(!selection.matches(&header_map(&[])));
    }

    #[test]
    fn a_response_that_varies_by_everything_answers_nobody_else() {
        let request = header_map(&[]);
        for vary in
            ["*", "*, *", ", *", "*, Foo", "Foo, *", "a b", "x-request-id", "Client-Cert", "forwarded"]
        {
            assert_eq!(Selection::new(&header_map(&[("vary", vary)]), &request), None, "{vary}");
        }
        assert_eq!(Selection::new(&header_map(&[("vary", ""), ("vary", "*")]), &request), None);
        assert!(Selection::new(&header_map(&[("vary", "")]), &request).is_some());
        let names: Vec<_> = (0..=MAX_FIELDS).map(|at| format!("a{at}")).collect();
        let mut response = HeaderMap::new();
        response.insert(header::VARY, HeaderValue::try_from(names.join(",")).unwrap());
        assert_eq!(Selection::new(&response, &request), None);
        let mut large = HeaderMap::new();
        large.insert("a0", HeaderValue::try_from("x".repeat(MAX_BYTES + 1)).unwrap());
        response.insert(header::VARY, HeaderValue::from_static("a0"));
        assert_eq!(Selection::new(&response, &large), None);
    }

    #[test]
    fn values_that_mean_the_same_are_the_same() {
        let same = |name: &'static str, one: &[&'static str], other: &[&'static str]| {
            let lines = |values: &[&'static str]| {
                header_map(&values.iter().map(|value| (name, *value)).collect::<Vec<_>>())
            };
            let vary = header_map(&[("vary", name)]);
            Selection::new(&vary, &lines(one)).unwrap().matches(&lines(other))
        };
        assert!(same("foo", &["1, 2"], &["1", "2"]));
        assert!(same("foo", &["1,2"], &[" 1 , 2 "]));
        assert!(same("accept-language", &["en, de"], &["eN,  De"]));
        assert!(same("accept-language", &["de;q=0.5"], &["de; q=0.5"]));
        assert!(same("accept-language", &["de", "en;q=0.5"], &["DE , en ;Q=0.5"]));
        assert!(same("cookie", &["a=1; b=2"], &["a=1", "b=2"]));
        assert!(!same("foo", &["a b"], &["ab"]));
        // A component that reads these otherwise would let one client choose what others get.
        assert!(!same("accept-language", &["e n"], &["en"]));
        for other in [",a", "a,", "a,,"] {
            assert!(!same("x-forwarded-host", &["a"], &[other]), "{other}");
        }
        assert!(!same("x-forwarded-host", &["a"], &["", "a"]));
        assert!(!same("cookie", &["a=1"], &["", "a=1"]));
        assert!(!same("foo", &["A"], &["a"]));
        assert!(!same("foo", &["\"1, 2\""], &["\"1,2\""]), "a quoted string is kept");
        // The order may be a preference (RFC 9110, 12.5.4).
        assert!(!same("accept-language", &["en, de"], &["de, en"]));
    }
}
