//! Which content codings a client accepts (RFC 9110, 12.5.3).

use std::io::Write as _;

use axum::http::{HeaderMap, header};

/// A shorter body is not worth the work.
const MIN_BYTES: usize = 512;

/// Whether the client accepts the coding.
pub(crate) fn accepts(headers: &HeaderMap, coding: &str) -> bool {
    let mut wildcard = false;
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for item in values.flat_map(|value| value.split(',')) {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        let accepted = !is_zero(parameters);
        if name.trim().eq_ignore_ascii_case(coding) {
            return accepted;
        }
        if name.trim() == "*" {
            wildcard = accepted;
        }
    }
    wildcard
}

/// Whether the parameters are a weight of zero (`q=0`, `q=0.000`): the client refuses.
fn is_zero(parameters: &str) -> bool {
    let weight = parameters.trim().strip_prefix("q=").or_else(|| parameters.trim().strip_prefix("Q="));
    weight.is_some_and(|weight| {
        weight.starts_with('0') && weight.bytes().all(|byte| matches!(byte, b'0' | b'.'))
    })
}

/// The body in gzip form, if that is worth the work.
pub(crate) fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() < MIN_BYTES {
        return None;
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn a_coding_is_accepted_unless_its_weight_is_zero() {
        for (value, br, gzip) in [
            ("gzip, deflate, br, zstd", true, true),
            ("gzip;q=0.5", false, true),
            ("GZIP ; q=0 , br;q=0.001", true, false),
            ("*", true, true),
            ("*;q=0, gzip", false, true),
            ("gzip;q=0, *", true, false),
            ("identity", false, false),
            ("", false, false),
            ("brotli", false, false),
        ] {
            assert_eq!(
                (accepts(&headers(value), "br"), accepts(&headers(value), "gzip")),
                (br, gzip),
                "{value}"
            );
        }
        assert!(!accepts(&HeaderMap::new(), "gzip"));
    }

    proptest! {
        #[test]
        fn what_is_compressed_is_there_again(body in proptest::collection::vec(any::<u8>(), 0..4000)) {
            let Some(compressed) = gzip(&body) else {
                prop_assert!(body.len() < MIN_BYTES);
                return Ok(());
            };
            let mut again = Vec::new();
            flate2::read::GzDecoder::new(&*compressed).read_to_end(&mut again).unwrap();
            prop_assert_eq!(again, body);
        }

        #[test]
        fn any_header_has_an_answer(value in "[ -~]*") {
            accepts(&headers(&value), "gzip");
        }
    }
}
