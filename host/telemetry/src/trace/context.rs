//! The identity of a span, and its headers by W3C Trace Context (<https://www.w3.org/TR/trace-context/>). Numbers
//! of sections in comments refer to this standard.

use http::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Maximum number of bytes of `tracestate` that are passed on. The standard demands at least this number (3.3.1.5).
/// A longer value is dropped.
const MAX_STATE: usize = 512;
/// The length of `traceparent` in version 00.
const PARENT_LENGTH: usize = 55;

/// The ids of a span, and whether the span is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    /// Whether the trace is recorded.
    pub(super) sampled: bool,
}

/// The identity of a span, and the `tracestate` of other tracing systems, which is passed on to its children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub(super) context: Context,
    pub(super) state: Option<HeaderValue>,
}

impl Context {
    /// Creates the root of a new trace, not yet sampled.
    pub(super) fn root() -> Self {
        // Ids of zeros only are invalid (3.2.2.3).
        Self { trace: fastrand::u128(1..).to_be_bytes(), span: fresh_span(), sampled: false }
    }

    /// Creates another span of the same trace.
    pub(super) fn child(self) -> Self {
        Self { span: fresh_span(), ..self }
    }

    /// Parses the value of `traceparent`. `None`: the value is malformed (3.2).
    fn parse(text: &[u8]) -> Option<Self> {
        let (known, more) = text.split_at_checked(PARENT_LENGTH)?;
        let mut fields = known.split(|byte| *byte == b'-');
        let [version] = hex(fields.next()?)?;
        // A later version may have more fields after another hyphen.
        let fits = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.first().is_none_or(|byte| *byte == b'-'),
        };
        let (trace, span) = (hex(fields.next()?)?, hex(fields.next()?)?);
        let [flags] = hex(fields.next()?)?;
        let is_one = trace != [0; 16] && span != [0; 8] && fields.next().is_none();
        (fits && is_one).then_some(Self { trace, span, sampled: flags & 1 == 1 })
    }

    /// Returns the value of `traceparent`.
    fn header(self) -> HeaderValue {
        let mut text = Vec::with_capacity(PARENT_LENGTH);
        text.extend_from_slice(b"00-");
        push_hex(&mut text, &self.trace);
        text.push(b'-');
        push_hex(&mut text, &self.span);
        text.extend_from_slice(if self.sampled { b"-01" } else { b"-00" });
        // The text has only hexadecimal digits and hyphens, which are valid in a header's value.
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
            .unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// Returns the trace id in hexadecimal digits.
    pub(super) fn trace_id(&self) -> Box<str> {
        let mut text = Vec::with_capacity(32);
        push_hex(&mut text, &self.trace);
        String::from_utf8(text).unwrap_or_default().into()
    }
}

impl Origin {
    /// Whether spans of this trace are recorded.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.context.sampled
    }

    /// Returns the span's id, which is the parent id of its children.
    #[must_use]
    pub fn span_id(&self) -> [u8; 8] {
        self.context.span
    }

    /// Returns the trace id in hexadecimal digits, for log lines.
    #[must_use]
    pub fn trace_id(&self) -> Box<str> {
        self.context.trace_id()
    }

    /// Creates a child of this span. The child is recorded if this span is.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { context: self.context.child(), state: self.state.clone() }
    }

    /// Returns `self` if it belongs to the trace of `known`. The result is recorded if `known` is.
    #[must_use]
    pub fn continuing(mut self, known: &Self) -> Option<Self> {
        self.context.sampled = known.context.sampled;
        (self.context.trace == known.context.trace).then_some(self)
    }

    /// Reads the identity from `traceparent` and `tracestate`. `None`: there is not exactly one `traceparent`, or
    /// it is malformed.
    #[must_use]
    pub fn extract(headers: &HeaderMap) -> Option<Self> {
        let context = Context::parse(parent(headers)?)?;
        Some(Self { context, state: state(headers) })
    }

    /// Replaces `traceparent` and `tracestate` in `headers` with this identity.
    pub fn inject(&self, headers: &mut HeaderMap) {
        headers.insert(TRACEPARENT, self.context.header());
        match &self.state {
            Some(state) => drop(headers.insert(TRACESTATE, state.clone())),
            None => drop(headers.remove(TRACESTATE)),
        }
    }
}

/// Returns the trace id in `traceparent`. `None`: there is not exactly one `traceparent`, or it is malformed.
pub fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let parent = parent(headers)?;
    Context::parse(parent)?;
    // The trace id follows the version and a hyphen.
    parent.get(3..35).and_then(|id| std::str::from_utf8(id).ok())
}

/// Returns the value of `traceparent` if there is exactly one.
fn parent(headers: &HeaderMap) -> Option<&[u8]> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let parent = parents.next()?;
    parents.next().is_none().then(|| parent.as_bytes())
}

/// Returns all lines of `tracestate` as one line (3.3.1). `None`: the header is absent, too long or not text.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(TRACESTATE).iter().map(HeaderValue::as_bytes);
    // Copy the value. Spans live longer than the request's head, and a slice would keep the whole head in memory.
    let copy = |line: &[u8]| HeaderValue::from_bytes(line).ok().filter(|value| value.to_str().is_ok());
    let fits = |line: &&[u8]| (1..=MAX_STATE).contains(&line.len());
    let first = lines.next()?;
    let Some(second) = lines.next() else { return Some(first).filter(fits).and_then(copy) };
    let all = [first, second].into_iter().chain(lines);
    let all: Vec<&[u8]> = all.filter(|line| !line.is_empty()).collect();
    Some(&*all.join(&b","[..])).filter(fits).and_then(copy)
}

fn fresh_span() -> [u8; 8] {
    fastrand::u64(1..).to_be_bytes()
}

fn push_hex(to: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    to.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}

/// Parses hexadecimal digits. The standard allows only lower case.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parse(text: &str) -> Option<Context> {
        Context::parse(text.as_bytes())
    }

    #[test]
    fn a_parent_is_read_and_written() {
        let context = parse(PARENT).unwrap();
        assert!(context.sampled);
        assert_eq!(context.header(), PARENT);
        assert_eq!(&*context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let not_sampled = format!("{}00", &PARENT[..53]);
        assert!(!parse(&not_sampled).unwrap().sampled);
        // The other flags are not passed on.
        assert_eq!(parse(&format!("{}03", &PARENT[..53])).unwrap().header(), PARENT);
    }

    #[test]
    fn a_later_version_may_say_more() {
        let later = format!("01{}", &PARENT[2..]);
        assert!(parse(&later).is_some());
        assert!(parse(&format!("{later}-what-the-future-will-be-like")).is_some());
        assert!(parse(&format!("{later}.what")).is_none());
        assert!(parse(&format!("{PARENT}-more")).is_none());
    }

    #[test]
    fn what_is_malformed_is_none() {
        for text in [
            "",
            "00",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "00-4bf92f3577b34da6a3ce929d0e0e47-3600f067aa0ba902b7-01-",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_state_goes_with_the_parent_alone() {
        let extract = |pairs: &[_]| Origin::extract(&headers(pairs));
        assert_eq!(extract(&[("tracestate", "a=1")]), None);
        assert_eq!(extract(&[("traceparent", PARENT), ("traceparent", PARENT)]), None);
        let origin =
            extract(&[("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")]).unwrap();
        assert_eq!(origin.state.clone().unwrap(), "a=1,b=2");
        let long = "a".repeat(MAX_STATE + 1);
        assert_eq!(extract(&[("traceparent", PARENT), ("tracestate", &long)]).unwrap().state, None);

        let mut theirs = headers(&[("traceparent", "nonsense"), ("traceparent", "x"), ("tracestate", "z=9")]);
        origin.inject(&mut theirs);
        assert_eq!(Origin::extract(&theirs), Some(origin.clone()));
        Origin { state: None, ..origin }.inject(&mut theirs);
        assert!(!theirs.contains_key("tracestate"));
    }

    #[test]
    fn the_log_names_the_trace_that_is_continued_and_no_other() {
        let named = |parents: &[&str]| {
            let pairs: Vec<_> = parents.iter().map(|parent| ("traceparent", *parent)).collect();
            let headers = headers(&pairs);
            let id = trace_id(&headers).map(str::to_owned);
            let continued = Origin::extract(&headers).map(|origin| origin.context.trace_id().into_string());
            assert_eq!(id, continued, "{parents:?}");
            id
        };
        assert_eq!(named(&[PARENT]).unwrap(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(named(&[&format!("cc{}-\u{e4}", &PARENT[2..])]).is_some());
        // The whole value must be valid, and there must be only one.
        for malformed in ["", "nonsense", &PARENT[..35], &format!("ff{}", &PARENT[2..])] {
            assert_eq!(named(&[malformed]), None);
        }
        assert_eq!(named(&[PARENT, PARENT]), None);
    }

    #[test]
    fn identities_differ() {
        let root = Context::root();
        assert_ne!(root.trace, Context::root().trace);
        let child = root.child();
        assert_eq!(child.trace, root.trace);
        assert_ne!(child.span, root.span);
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_read_or_refused(text in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Context::parse(&text);
        }

        #[test]
        fn what_is_written_is_read(trace in 1u128.., span in 1u64.., sampled: bool) {
            let context = Context { trace: trace.to_be_bytes(), span: span.to_be_bytes(), sampled };
            prop_assert_eq!(Context::parse(context.header().as_bytes()), Some(context));
        }
    }
}
