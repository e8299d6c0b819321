//! What GitHub says about the end of the API version that the request named. GitHub supports a version for two years after
//! the next one. Near the end, answers carry `Deprecation` and `Sunset`. After the end, every answer is 410.

use crate::github::answer::header;
use crate::github::http_date;
use crate::ports::FetchResponse;

/// An API version that ends or has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionNotice {
    /// Whether GitHub no longer supports the version: 410.
    pub retired: bool,
    /// When the support ends, in seconds since the Unix epoch: `Sunset` (RFC 8594). `None` if the answer names no date.
    pub sunset: Option<u64>,
}

/// What an answer says about the API version; `None` if it says nothing.
pub fn notice(response: &FetchResponse) -> Option<VersionNotice> {
    let retired = response.status == 410;
    let named = ["deprecation", "sunset"].iter().any(|name| header(response, name).is_some());
    let sunset = header(response, "sunset").and_then(http_date::parse);
    (retired || named).then_some(VersionNotice { retired, sunset })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, headers: &[(&str, &str)]) -> Option<VersionNotice> {
        let headers =
            headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        notice(&FetchResponse { status, headers, body: Vec::new() })
    }

    #[test]
    fn the_end_of_a_version_is_announced_and_then_a_410() {
        const SUNSET: (&str, &str) = ("Sunset", "Fri, 10 Mar 2028 00:00:00 GMT");
        const DEPRECATION: (&str, &str) = ("Deprecation", "Tue, 10 Mar 2026 00:00:00 GMT");
        for (status, headers, expected) in [
            (200, &[][..], None),
            (404, &[], None),
            (200, &[DEPRECATION, SUNSET], Some((false, Some(1_836_259_200)))),
            (304, &[SUNSET], Some((false, Some(1_836_259_200)))),
            (200, &[DEPRECATION], Some((false, None))),
            (200, &[("sunset", "soon")], Some((false, None))),
            (410, &[], Some((true, None))),
            (410, &[SUNSET], Some((true, Some(1_836_259_200)))),
        ] {
            let expected = expected.map(|(retired, sunset)| VersionNotice { retired, sunset });
            assert_eq!(read(status, headers), expected, "{status} {headers:?}");
        }
    }
}
