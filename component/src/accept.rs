//! Content negotiation of error bodies (RFC 9110, 12.5.1).

use crate::problem::Form;

/// Media ranges that are looked at; further ones are ignored.
const MAX_RANGES: usize = 64;

/// A quality in thousandths, as `q` has three decimals.
type Quality = u16;

/// The form in which a client with that `Accept` wants errors: problem documents where it names their media type
/// itself (a wildcard says nothing) no lower than JSON.
pub fn error_form(accept: Option<&str>) -> Form {
    let Some(accept) = accept.filter(|accept| contains_ignore_case(accept, "application/problem+json"))
    else {
        return Form::Detail;
    };
    let mut problem = None;
    // JSON's quality by how specific the range is that gives it: `*/*`, `application/*`, itself.
    let mut json: [Option<Quality>; 3] = [None; 3];
    for range in split_unquoted(accept, b',').take(MAX_RANGES) {
        let mut parts = split_unquoted(range, b';');
        let name = parts.next().unwrap_or_default().trim();
        let quality = quality(parts);
        let slot = match name {
            _ if name.eq_ignore_ascii_case("application/problem+json") => &mut problem,
            _ if name.eq_ignore_ascii_case("application/json") => &mut json[2],
            _ if name.eq_ignore_ascii_case("application/*") => &mut json[1],
            "*/*" => &mut json[0],
            _ => continue,
        };
        *slot = (*slot).max(Some(quality));
    }
    let json = json.into_iter().rev().find_map(|quality| quality).unwrap_or(0);
    match problem {
        Some(problem) if problem > 0 && problem >= json => Form::Problem,
        _ => Form::Detail,
    }
}

/// The `q` among a range's parameters; 1 if there is none, 0 if it is none.
fn quality<'a>(mut parameters: impl Iterator<Item = &'a str>) -> Quality {
    parameters
        .find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| thousandths(value.trim()).unwrap_or(0))
        })
        .unwrap_or(1000)
}

/// `0`, `0.5`, `0.123`, `1`, `1.000`; nothing above 1.
fn thousandths(text: &str) -> Option<Quality> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|b| b.is_ascii_digit());
    let fraction: Quality = format!("{fraction:0<3}").parse().ok().filter(|_| digits)?;
    match (whole, fraction) {
        ("0", fraction) => Some(fraction),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

/// Splits at a separator that does not stand within a quoted string.
fn split_unquoted(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |character: char| {
        if escaped {
            escaped = false;
        } else if quoted && character == '\\' {
            escaped = true;
        } else if character == '"' {
            quoted = !quoted;
        }
        !quoted && character == char::from(separator)
    })
}

fn contains_ignore_case(text: &str, needle: &str) -> bool {
    text.as_bytes().windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle.as_bytes()))
}
