//! Routes that a token opens.

use http::{HeaderMap, header};

use crate::platform::Platform;
use crate::problem::Problem;
use crate::secret::Secret;

/// Whether the request has the token of the setting `setting`, as `Authorization: Bearer TOKEN` (RFC 6750).
///
/// # Errors
/// 403 if the setting is not set: the route is closed. 401 if the request has no token, or another one.
pub fn authorize(platform: &Platform, headers: &HeaderMap, setting: &'static str) -> Result<(), Problem> {
    let Some(token) = platform.setting::<Secret>(setting)? else {
        let detail = format!("setting {setting} is not set: the route is closed");
        return Err(Problem::new(http::StatusCode::FORBIDDEN, detail));
    };
    let value = headers.get(header::AUTHORIZATION).map(http::HeaderValue::as_bytes);
    let given = value.and_then(|value| {
        let (scheme, given) = value.split_at_checked("Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then_some(given)
    });
    if given.is_some_and(|given| token.matches(given)) {
        return Ok(());
    }
    Err(Problem::unauthorized(
        "Bearer",
        "the header Authorization must be Bearer and the token of this route",
    ))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::fake::Fake;

    #[test]
    fn only_the_token_opens_and_without_a_setting_nothing_does() {
        let fake = Fake::new();
        let status = |value: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            authorize(&fake.platform(), &headers, "admin_token").err().map(|problem| problem.status.as_u16())
        };
        assert_eq!(status(Some("Bearer ")), Some(403));
        fake.setting("admin_token", "secret");
        for bad in [
            None,
            Some("Bearer "),
            Some("Bearer secre"),
            Some("Bearer secrets"),
            Some("Basic secret"),
            Some("secret"),
        ] {
            assert_eq!(status(bad), Some(401), "{bad:?}");
        }
        assert_eq!(status(Some("Bearer secret")), None);
        assert_eq!(status(Some("bearer secret")), None);
    }
}
