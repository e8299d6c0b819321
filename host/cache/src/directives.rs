//! The directives of `Cache-Control` (RFC 9111, 5.2).
//!
//! The parser is tolerant where the standard asks for it: any case, quoted and unquoted arguments, unknown directives. An
//! argument that is not valid makes the response stale rather than fresh (RFC 9111, 4.2.1). A line that is no list of
//! directives may hide one that forbids to store, so it counts as `no-store`.

use http::{HeaderName, HeaderValue};

/// The most seconds that a directive can mean. Larger arguments mean this many (RFC 9111, 1.2.2).
pub const MAX_SECONDS: u64 = 1 << 31;
/// The most field names in the argument of `no-cache` or `private`. With more, the directive counts as one without argument.
const MAX_FIELDS: usize = 32;

/// The directives of one message. Times are in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// `max-age` of a response or a request. 0 if the argument is not valid.
    pub max_age: Option<u64>,
    /// `s-maxage`. 0 if the argument is not valid.
    pub s_maxage: Option<u64>,
    /// `stale-while-revalidate` (RFC 5861, 3).
    pub stale_while_revalidate: Option<u64>,
    /// `stale-if-error` (RFC 5861, 4).
    pub stale_if_error: Option<u64>,
    /// `no-store`, or a line that is no list of directives.
    pub no_store: bool,
    /// `no-cache` without field names.
    pub no_cache: bool,
    /// `private` without field names.
    pub private: bool,
    /// `public`.
    pub public: bool,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `must-understand`.
    pub must_understand: bool,
    /// The fields of `no-cache="…"` and `private="…"`, which a shared cache does not store.
    pub unstored_fields: Vec<HeaderName>,
    /// `max-stale` of a request: [`MAX_SECONDS`] if it has no argument.
    pub max_stale: Option<u64>,
    /// `min-fresh` of a request: [`MAX_SECONDS`] if the argument is not valid.
    pub min_fresh: Option<u64>,
    /// `only-if-cached` of a request.
    pub only_if_cached: bool,
}

/// The argument of a directive.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Argument<'a> {
    /// There is none.
    Missing,
    /// A token, or the inside of a quoted string.
    Text(&'a [u8]),
    /// Not valid.
    Invalid,
}

impl Directives {
    /// Reads all lines of a `Cache-Control` field.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a HeaderValue>) -> Self {
        let mut directives = Self::default();
        for line in lines {
            let mut is_readable = !is_open_ended(line.as_bytes());
            for member in members(line.as_bytes()) {
                let (name, argument) = split(member);
                is_readable &= is_token(name);
                directives.add(name, argument);
            }
            directives.no_store |= !is_readable;
        }
        directives
    }

    /// Whether a request with these directives refuses a stale response.
    pub(crate) fn refuses_stale(&self) -> bool {
        self.no_cache || self.no_store || self.max_age.is_some() || self.min_fresh.is_some()
    }

    /// Adds one directive. Unknown directives are ignored.
    pub(crate) fn add(&mut self, name: &[u8], argument: Argument<'_>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("max-age") {
            least(&mut self.max_age, argument.seconds().unwrap_or(0));
        } else if is("s-maxage") {
            least(&mut self.s_maxage, argument.seconds().unwrap_or(0));
        } else if is("stale-while-revalidate") {
            least(&mut self.stale_while_revalidate, argument.seconds().unwrap_or(0));
        } else if is("stale-if-error") {
            least(&mut self.stale_if_error, argument.seconds().unwrap_or(0));
        } else if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            self.no_cache |= !self.fields(argument);
        } else if is("private") {
            self.private |= !self.fields(argument);
        } else if is("public") {
            self.public = true;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is("must-understand") {
            self.must_understand = true;
        } else if is("max-stale") {
            let seconds = match argument {
                Argument::Missing => MAX_SECONDS,
                _ => argument.seconds().unwrap_or(0),
            };
            least(&mut self.max_stale, seconds);
        } else if is("min-fresh") {
            self.min_fresh = self.min_fresh.max(Some(argument.seconds().unwrap_or(MAX_SECONDS)));
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        }
    }

    /// Adds the field names of an argument. Returns `false` if the directive counts as one without argument.
    fn fields(&mut self, argument: Argument<'_>) -> bool {
        let Argument::Text(text) = argument else { return false };
        let names = text.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
        let names: Result<Vec<HeaderName>, _> =
            names.take(MAX_FIELDS + 1).map(HeaderName::from_bytes).collect();
        match names {
            Ok(names) if !names.is_empty() && self.unstored_fields.len() + names.len() <= MAX_FIELDS => {
                self.unstored_fields.extend(names);
                true
            }
            _ => false,
        }
    }
}

/// Of several values for one directive, the least counts: the response is stale earlier (RFC 9111, 4.2.1).
fn least(value: &mut Option<u64>, seconds: u64) {
    *value = Some(value.map_or(seconds, |before| before.min(seconds)));
}

impl Argument<'_> {
    /// The argument as seconds, at most [`MAX_SECONDS`]. `None`: it is not a number of seconds.
    fn seconds(self) -> Option<u64> {
        match self {
            Self::Text(digits) => seconds(digits),
            Self::Missing | Self::Invalid => None,
        }
    }
}

/// Reads `delta-seconds`, at most [`MAX_SECONDS`] (RFC 9111, 1.2.2). `None`: `digits` has something other than digits, or
/// nothing.
pub(crate) fn seconds(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits
        .iter()
        .fold(0u64, |number, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    Some(number.min(MAX_SECONDS))
}

/// The members of a comma-separated list, without the white space around them. Commas in quoted strings do not separate.
/// Empty members are left out.
pub(crate) fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    parts(line).filter(|member| !member.is_empty())
}

/// As [`members`], with the empty ones.
pub(crate) fn parts(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoting = Quoting::default();
    let separates = move |byte: &u8| {
        let separates = *byte == b',' && !quoting.is_open;
        quoting.follow(*byte);
        separates
    };
    line.split(separates).map(<[u8]>::trim_ascii)
}

/// Where a line is: inside a quoted string, or outside.
#[derive(Default)]
struct Quoting {
    is_open: bool,
    escapes: bool,
}

impl Quoting {
    fn follow(&mut self, byte: u8) {
        match byte {
            _ if self.escapes => self.escapes = false,
            b'\\' if self.is_open => self.escapes = true,
            b'"' => self.is_open = !self.is_open,
            _ => {}
        }
    }
}

/// Whether a quoted string of the line has no end.
fn is_open_ended(line: &[u8]) -> bool {
    let mut quoting = Quoting::default();
    line.iter().for_each(|byte| quoting.follow(*byte));
    quoting.is_open
}

/// Whether the text can be the name of a directive (RFC 9110, 5.6.2).
fn is_token(text: &[u8]) -> bool {
    let is_token_character = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_token_character)
}

/// Splits a directive into its name and its argument.
fn split(member: &[u8]) -> (&[u8], Argument<'_>) {
    let Some(at) = member.iter().position(|byte| *byte == b'=') else { return (member, Argument::Missing) };
    let (name, value) = member.split_at_checked(at).unwrap_or((member, &[]));
    let value = value.get(1..).unwrap_or_default();
    let is_spaced = name.trim_ascii().len() != name.len() || value.trim_ascii().len() != value.len();
    let argument = match value {
        _ if is_spaced => Argument::Invalid,
        [b'"', inner @ .., b'"'] if !inner.contains(&b'"') && !inner.contains(&b'\\') => {
            Argument::Text(inner)
        }
        [b'"', ..] => Argument::Invalid,
        _ => Argument::Text(value),
    };
    (name.trim_ascii(), argument)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &[&'static str]) -> Directives {
        let lines: Vec<_> = lines.iter().map(|line| HeaderValue::from_static(line)).collect();
        Directives::parse(&lines)
    }

    #[test]
    fn directives_have_any_case_and_any_order() {
        let expected =
            Directives { max_age: Some(3600), public: true, must_revalidate: true, ..Directives::default() };
        assert_eq!(parse(&["MaX-aGe=3600, PUBLIC,must-revalidate"]), expected);
        assert_eq!(parse(&["must-revalidate, foobar", ", ,max-age=\"3600\",x=\"a,b\" , public="]), expected);
    }

    #[test]
    fn an_argument_that_is_no_number_means_stale() {
        for (line, seconds) in [
            ("max-age=003600", 3600),
            ("max-age=99999999999", MAX_SECONDS),
            ("max-age=999999999999999999999999999", MAX_SECONDS),
            ("max-age=-3600", 0),
            ("max-age=3600.0", 0),
            ("max-age=a3600", 0),
            ("max-age='3600'", 0),
            ("max-age =3600", 0),
            ("max-age= 3600", 0),
            ("max-age", 0),
            ("max-age=", 0),
            ("max-age=\"3600", 0),
            ("max-age=\"36\\00\"", 0),
        ] {
            assert_eq!(parse(&[line]).max_age, Some(seconds), "{line}");
        }
    }

    #[test]
    fn of_two_values_the_least_counts() {
        assert_eq!(parse(&["max-age=1800, max-age=1"]).max_age, Some(1));
        assert_eq!(parse(&["max-age=1", "max-age=1800"]).max_age, Some(1));
    }

    #[test]
    fn what_stands_in_a_quoted_string_is_no_directive() {
        assert_eq!(parse(&["extension=\"max-age=3600, no-store\", max-age=1"]).max_age, Some(1));
        assert!(!parse(&["extension=\"a\\\", no-store\""]).no_store);
        assert!(parse(&["extension=\"a\\\\\", no-store"]).no_store);
    }

    #[test]
    fn a_line_that_is_no_list_of_directives_is_not_stored() {
        for line in [
            "max-age=60, x=\"a, no-store",
            "max-age=60, x=\"a\\",
            "max-age=60, x=a\"b, private",
            "max-age=60, public no-store",
            "max-age=60, =1",
            "max-age=60, \"no-store\"",
            "public; max-age=60",
        ] {
            assert!(parse(&[line]).no_store && parse(&["max-age=1", line]).no_store, "{line}");
        }
        for line in ["max-age=60, x=\"a, no-store\"", "max-age=60, x='a b'", ",, max-age=60,", ""] {
            assert!(!parse(&[line]).no_store, "{line}");
        }
    }

    #[test]
    fn field_names_are_left_out_of_the_store_or_the_directive_counts_whole() {
        let named = parse(&["no-cache=\"a, B\", private=set-cookie"]);
        assert_eq!(named.unstored_fields, ["a", "b", "set-cookie"]);
        assert!(!named.no_cache && !named.private);
        for line in
            ["no-cache", "no-cache=", "no-cache=\"\"", "no-cache=\"a b\"", "no-cache=\"a", "no-cache= a"]
        {
            assert!(parse(&[line]).no_cache, "{line}");
        }
        let many: String = (0..40).map(|at| format!("a{at},")).collect();
        let line = HeaderValue::try_from(format!("private=\"{many}\"")).unwrap();
        assert!(Directives::parse([&line]).private);
    }

    #[test]
    fn directives_of_requests() {
        let request = parse(&["max-stale, min-fresh=5, only-if-cached, no-store"]);
        assert_eq!((request.max_stale, request.min_fresh), (Some(MAX_SECONDS), Some(5)));
        assert!(request.only_if_cached && request.no_store);
        assert_eq!(parse(&["max-stale=7"]).max_stale, Some(7));
        assert_eq!(parse(&["min-fresh=x, min-fresh=1"]).min_fresh, Some(MAX_SECONDS), "it is not ignored");
    }
}
