//! Input: the length of a stored body, a line of `Range`, and a line of `If-Range`. Only what RFC 9110 calls one byte range is a
//! part, exactly the one that it names, and only a strong validator lets a client have it.
#![no_main]

use std::ops::Range;

use fuzz::fields::values;
use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use wasi_http_host_cache::{
    conditional::may_have_part,
    date,
    range::{Requested, requested},
};

/// The positions of `bytes=first-last`, by splitting text. `None`: this is not one byte range.
fn positions(value: &[u8]) -> Option<(Option<u128>, Option<u128>)> {
    let text = std::str::from_utf8(value).ok()?;
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.trim_ascii().split_once('-')?;
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !unit.eq_ignore_ascii_case("bytes")
        || !is_number(first)
        || !is_number(last)
        || first.len() + last.len() == 0
    {
        return None;
    }
    // A number with more digits than this type has is larger than each body.
    let number = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap_or(u128::MAX));
    Some((number(first), number(last)))
}

/// What the standard says of the range.
fn expected(value: &[u8], length: usize) -> Requested {
    let whole = length as u128;
    let part = match positions(value) {
        None => return Requested::Whole,
        Some((Some(first), Some(last))) if last < first => return Requested::Whole,
        Some((Some(first), last)) => first..last.map_or(whole, |last| last.saturating_add(1)).min(whole),
        Some((None, last)) => whole.saturating_sub(last.unwrap_or(0))..whole,
    };
    if part.start >= part.end {
        return Requested::Unsatisfiable;
    }
    let position = |number: u128| usize::try_from(number).expect("it is at most the length");
    Requested::Part(position(part.start)..position(part.end))
}

fuzz_target!(|input: &[u8]| {
    let mut lines = input.splitn(3, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let length = std::str::from_utf8(line()).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let range = line();
    let asked = requested(range, length);
    // Two numbers that do not fit the host's type are not told apart.
    let are_small = positions(range)
        .is_none_or(|(first, last)| first.max(last).is_none_or(|most| most < u128::from(u64::MAX)));
    if are_small {
        assert_eq!(asked, expected(range, length), "{:?} of {length}", String::from_utf8_lossy(range));
    }
    if let Requested::Part(Range { start, end }) = asked {
        assert!(start < end && end <= length);
        // A part reads as itself once it is written down, from either end.
        for text in [format!("bytes={start}-{}", end - 1), format!("BYTES={start}-{}", end - 1)] {
            assert_eq!(requested(text.as_bytes(), length), Requested::Part(start..end));
        }
        assert_eq!(
            requested(format!("bytes=-{}", length - start).as_bytes(), length),
            Requested::Part(start..length)
        );
    }
    // Several ranges are the whole.
    let several = [range, b",0-0"].concat();
    assert_eq!(requested(&several, length), Requested::Whole);

    let Some(condition) = values(line()).into_iter().next() else { return };
    let mut request = HeaderMap::new();
    request.insert(header::IF_RANGE, condition.clone());
    let without = HeaderMap::new();
    assert!(!may_have_part(&request, &without), "nothing to compare with");
    for name in [header::ETAG, header::LAST_MODIFIED] {
        for stored in [condition.clone(), HeaderValue::from_static("\"a\"")] {
            let mut response = HeaderMap::new();
            response.insert(name.clone(), stored.clone());
            if !may_have_part(&request, &response) {
                continue;
            }
            let is_strong = condition.as_bytes().starts_with(b"\"") && stored == condition;
            let is_same_date = date::parse(condition.as_bytes()).is_some()
                && date::parse(stored.as_bytes()) == date::parse(condition.as_bytes());
            assert!(if name == header::ETAG { is_strong } else { is_same_date }, "{condition:?} {stored:?}");
        }
    }
});
