//! Content negotiation of errors' bodies (RFC 9110, 12.5.1).

use crate::response::problem::Form;

/// The most media ranges that are parsed. Further ones are ignored.
const MAX_RANGES: usize = 64;

/// A quality value in thousandths: `q` has at most three decimals (RFC 9110, 12.4.2).
type Quality = u16;

/// The form of errors for a client with this `Accept`. The client gets problem documents if it names their media type
/// explicitly, not by a wildcard, with at least the quality of JSON.
pub fn error_form(accept: Option<&str>) -> Form {
    let Some(accept) = accept.filter(|accept| contains_ignore_case(accept, "application/problem+json"))
    else {
        return Form::Detail;
    };
    let mut problem = None;
    // JSON's quality from each kind of range: `*/*`, `application/*`, `application/json`. The most specific one counts.
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

/// The value of the parameter `q`: 1 if it is missing, 0 if it is invalid.
fn quality<'a>(mut parameters: impl Iterator<Item = &'a str>) -> Quality {
    parameters
        .find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| thousandths(value.trim()).unwrap_or(0))
        })
        .unwrap_or(1000)
}

/// Parses a quality value from 0 to 1 with at most three decimals.
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

/// Splits at `separator`, except within quoted strings.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{error_form, thousandths};
    use crate::response::problem::Form;

    #[test]
    fn a_problem_document_goes_to_whoever_names_it_no_lower_than_json() {
        for accept in [
            "application/problem+json",
            "Application/Problem+JSON",
            "application/problem+json, application/json",
            "application/json, application/problem+json",
            "application/json;q=0.5, application/problem+json;q=0.5",
            "application/problem+json;q=0.9, */*;q=0.8",
            "application/problem+json;q=0.2, application/*;q=0.9, application/json;q=0.1",
            "text/html, application/problem+json ; q=0.001",
            "text/x;a=\"application/json,\\\"\", application/problem+json",
            "application/problem+json; charset=utf-8; Q=1.000",
        ] {
            assert_eq!(error_form(Some(accept)), Form::Problem, "{accept}");
        }
    }

    #[test]
    fn everyone_else_gets_a_detail() {
        for accept in [
            "",
            "*/*",
            "application/*",
            "application/json",
            "application/json, application/problem+json;q=0.9",
            "application/problem+json;q=0.5, */*",
            "application/problem+json;q=0.5, application/*;q=0.6, */*;q=0.1",
            "application/problem+json;q=0",
            "application/problem+json;q=0.000",
            "application/problem+json;q=x",
            "application/problem+json;q=1.001",
            "application/problem+xml",
            "x/y;z=\"application/problem+json\"",
            "application/problem+jsonp",
        ] {
            assert_eq!(error_form(Some(accept)), Form::Detail, "{accept}");
        }
        assert_eq!(error_form(None), Form::Detail);
    }

    #[test]
    fn a_quality_has_three_decimals() {
        for (text, quality) in
            [("0", 0), ("0.", 0), ("1", 1000), ("0.5", 500), ("0.05", 50), ("0.123", 123), ("1.000", 1000)]
        {
            assert_eq!(thousandths(text), Some(quality), "{text}");
        }
        for text in ["", "2", "0.1234", "1.1", "-0", "+1", "0.+1", ".5", "01"] {
            assert_eq!(thousandths(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn only_the_two_qualities_matter(problem in 0_u16..=1000, json in 0_u16..=1000, json_first: bool) {
            let q = |quality: u16| format!("{}.{:03}", quality / 1000, quality % 1000);
            let problem_range = format!("application/problem+json;q={}", q(problem));
            let json_range = format!("application/json;q={}", q(json));
            let accept =
                if json_first { format!("{json_range},{problem_range}") } else { format!("{problem_range},{json_range}") };
            let expected = if problem > 0 && problem >= json { Form::Problem } else { Form::Detail };
            prop_assert_eq!(error_form(Some(&accept)), expected);
        }

        #[test]
        fn any_header_is_read(accept in "(application/problem\\+json|application/json|[,;=\"\\\\ q.01*/]|\\PC){0,20}") {
            let _ = error_form(Some(&accept));
        }
    }
}
