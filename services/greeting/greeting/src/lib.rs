//! Greets with the local time of an offset or a zone, and shows a secret to clients with the key.
//!
//! | setting | | |
//! | --- | --- | --- |
//! | `greeting` | `Hello, world!` | the message |
//! | `timezone_offset` | `0` | hours (`+5:30`, `5.5`), or the name of a zone, whose offset the service timezones knows |
//! | `dummy_api_key` | | the key to the secret |
//! | `secret_message` | | the secret |
//! | `timezones_url` | `http://timezones.spin.internal` | the address of the service timezones |
//! | `timezones_timeout` | `2s` | how long a request to the service timezones may take |

mod offset;
mod timezones;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::get;
use jiff::Timestamp;
use serde::Serialize;
use web::{InvalidSetting, Json, Platform, Problem, Secret, Service};

use crate::offset::{Offset, TimezoneOffset};
use crate::timezones::Timezones;

#[cfg(target_family = "wasm")]
web::export!(router);

/// The message when the setting `greeting` is not set.
const GREETING: &str = "Hello, world!";
/// The header that has the key.
const KEY_HEADER: &str = "x-api-key";

/// What `GET /` answers.
#[derive(Debug, Serialize)]
struct Greeting {
    message: String,
    /// The local time, with its offset (RFC 3339).
    time: String,
    timezone_offset: String,
    /// The zone, if the setting names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    timezone: Option<String>,
}

/// What `GET /secret` answers.
#[derive(Debug, Serialize)]
struct SecretMessage {
    secret_message: String,
}

/// The settings that both routes need to be valid.
struct Settings {
    greeting: String,
    timezone_offset: TimezoneOffset,
    timezones: Timezones,
}

impl Settings {
    fn read(platform: &Platform) -> Result<Self, InvalidSetting> {
        Ok(Self {
            greeting: platform.setting_or("greeting", GREETING.to_owned())?,
            timezone_offset: platform.setting_or("timezone_offset", TimezoneOffset::Fixed(Offset::UTC))?,
            timezones: Timezones::read(platform)?,
        })
    }
}

/// The service's router.
pub fn router(platform: &Platform) -> Router {
    let routes =
        Router::new().route("/", get(greet)).route("/secret", get(secret)).with_state(platform.clone());
    Service::new("greeting", platform)
        .openapi(include_str!("openapi.json"))
        .ready_if(|platform| Settings::read(platform).map(|_| ()))
        .routes(routes)
}

async fn greet(State(platform): State<Platform>, headers: HeaderMap) -> Result<Json<Greeting>, Problem> {
    let Settings { greeting, timezone_offset, timezones } = Settings::read(&platform)?;
    let (offset, timezone) = match timezone_offset {
        TimezoneOffset::Fixed(offset) => (offset, None),
        TimezoneOffset::Zone(name) => (timezones.offset(&platform, &headers, &name).await?, Some(name)),
    };
    Ok(Json(Greeting {
        message: greeting,
        time: local_time(&platform, offset)?,
        timezone_offset: offset.to_string(),
        timezone,
    }))
}

/// The time of the system's clock at `offset`.
fn local_time(platform: &Platform, offset: Offset) -> Result<String, Problem> {
    let seconds = i64::try_from(platform.unix_time().as_secs()).unwrap_or(i64::MAX);
    let time = Timestamp::from_second(seconds).ok();
    let offset = jiff::tz::Offset::from_seconds(offset.seconds()).ok();
    match time.zip(offset) {
        Some((time, offset)) => Ok(time.display_with_offset(offset).to_string()),
        None => Err(Problem::unavailable("the system's clock is beyond the year 9999")),
    }
}

async fn secret(
    State(platform): State<Platform>,
    headers: HeaderMap,
) -> Result<Json<SecretMessage>, Problem> {
    let missing = |name: &str| Problem::unavailable(format!("setting {name}: not set"));
    let key: Option<Secret> = platform.setting("dummy_api_key")?;
    let key = key.ok_or_else(|| missing("dummy_api_key"))?;
    let mut given = headers.get_all(KEY_HEADER).iter();
    // With two keys, it is not clear which one a proxy has checked.
    let is_allowed = match (given.next(), given.next()) {
        (Some(given), None) => key.matches(given.as_bytes()),
        _ => false,
    };
    if !is_allowed {
        return Err(Problem::unauthorized(
            "ApiKey realm=\"secret\"",
            "the header x-api-key has no valid key",
        ));
    }
    let message: Option<Secret> = platform.setting("secret_message")?;
    let message = message.ok_or_else(|| missing("secret_message"))?;
    Ok(Json(SecretMessage { secret_message: message.reveal().to_owned() }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::StatusCode;
    use proptest::prelude::*;
    use web::FetchError;
    use web::fake::{Fake, get, send};

    use super::*;

    /// 2026-01-15T12:00:00Z
    const NOON: Duration = Duration::from_secs(1_768_478_400);
    const TIMEZONES: &str = "timezones.spin.internal";

    fn greeting() -> (Fake, Router) {
        let fake = Fake::new();
        fake.set_time(NOON);
        let router = router(&fake.platform());
        (fake, router)
    }

    /// A service timezones that answers `body`.
    fn timezones(status: u16, body: &'static str) -> Router {
        let status = StatusCode::from_u16(status).unwrap();
        Router::new()
            .route("/timezones/Asia/Kolkata", axum::routing::get(move || async move { (status, body) }))
    }

    #[test]
    fn it_greets_at_the_time_of_the_offset() {
        let (fake, router) = greeting();
        assert_eq!(
            get(&router, "/").text(),
            r#"{"message":"Hello, world!","time":"2026-01-15T12:00:00+00:00","timezone_offset":"+00:00"}"#
        );
        fake.setting("greeting", "Namaste");
        fake.setting("timezone_offset", "+5:30");
        assert_eq!(
            get(&router, "/").text(),
            r#"{"message":"Namaste","time":"2026-01-15T17:30:00+05:30","timezone_offset":"+05:30"}"#
        );
        assert!(fake.requests().is_empty());
    }

    #[test]
    fn it_asks_for_a_zone_by_name() {
        let (fake, router) = greeting();
        fake.setting("timezone_offset", "Asia/Kolkata");
        fake.serve(TIMEZONES, timezones(200, r#"{"offset_seconds":19800}"#));
        let trace = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert_eq!(
            send(&router, "GET", "/", &[trace], "").text(),
            r#"{"message":"Hello, world!","time":"2026-01-15T17:30:00+05:30","timezone_offset":"+05:30","timezone":"Asia/Kolkata"}"#
        );
        assert_eq!(fake.requests()[0].headers[trace.0], trace.1);
    }

    #[test]
    fn an_absent_or_broken_timezones_is_a_problem_that_names_the_reason() {
        let (fake, router) = greeting();
        fake.setting("timezone_offset", "Asia/Kolkata");
        let detail = || {
            let answer = get(&router, "/");
            (answer.status, answer.json()["detail"].as_str().unwrap_or_default().to_owned())
        };
        fake.fail(TIMEZONES, FetchError::Timeout);
        assert_eq!(detail(), (504, "timezones: no response in time".to_owned()));
        fake.fail(TIMEZONES, FetchError::Connect("refused".to_owned()));
        assert_eq!(detail(), (502, "timezones: no connection: refused".to_owned()));
        for (status, body, reason) in [
            (503, "", "status 503"),
            (200, "{}", "missing field `offset_seconds`"),
            (200, r#"{"offset_seconds":99999999}"#, "an offset of 99999999 s"),
        ] {
            fake.serve(TIMEZONES, timezones(status, body));
            let (status, text) = detail();
            assert_eq!(status, 502, "{body}");
            assert!(text.contains(reason), "{text}");
        }
    }

    #[test]
    fn an_unknown_zone_is_the_settings_fault() {
        let (fake, router) = greeting();
        fake.setting("timezone_offset", "Asia/Atlantis");
        fake.serve(TIMEZONES, timezones(200, ""));
        let answer = get(&router, "/");
        assert_eq!(answer.status, 503);
        assert_eq!(
            answer.json()["detail"],
            "setting timezone_offset: \"Asia/Atlantis\" is not valid: expected the name of a zone that the service timezones has"
        );
    }

    #[test]
    fn the_secret_is_for_those_with_the_key() {
        let (fake, router) = greeting();
        let ask = |headers: &[(&str, &str)]| send(&router, "GET", "/secret", headers, "");
        let closed = ask(&[("x-api-key", "")]);
        assert_eq!(closed.status, 503, "without a key in the settings, nobody gets the secret");
        assert_eq!(closed.json()["detail"], "setting dummy_api_key: not set");
        fake.setting("dummy_api_key", "key-1");
        fake.setting("secret_message", "the cake is real");
        for headers in [
            &[][..],
            &[("x-api-key", "key-2")],
            &[("x-api-key", "key-")],
            &[("x-api-key", "")],
            &[("x-api-key", "key-1"), ("x-api-key", "key-1")],
            &[("authorization", "Bearer key-1")],
        ] {
            let answer = ask(headers);
            assert_eq!(answer.status, 401, "{headers:?}");
            assert_eq!(answer.header("www-authenticate"), "ApiKey realm=\"secret\"");
            assert!(!answer.text().contains("cake"));
        }
        assert_eq!(ask(&[("x-api-key", "key-1")]).text(), r#"{"secret_message":"the cake is real"}"#);
        fake.setting("dummy_api_key", "key-2");
        assert_eq!(ask(&[("x-api-key", "key-1")]).status, 401, "a changed key is taken up");
        assert!(fake.log_lines().iter().all(|line| !line.contains("key-1") && !line.contains("cake")));
    }

    #[test]
    fn an_invalid_offset_is_named_and_makes_it_unready() {
        let (fake, router) = greeting();
        fake.setting("timezone_offset", "+15");
        for target in ["/", "/ready"] {
            let answer = get(&router, target);
            assert_eq!(answer.status, 503);
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.starts_with("setting timezone_offset: \"+15\" is not valid"), "{detail}");
        }
    }

    proptest! {
        #[test]
        fn any_setting_has_an_answer(offset: String, message: String, seconds: u64) {
            let (fake, router) = greeting();
            fake.setting("timezone_offset", &offset);
            fake.setting("greeting", &message);
            fake.set_time(Duration::from_secs(seconds));
            let status = get(&router, "/").status;
            prop_assert!([200, 502, 503].contains(&status), "{status}");
        }
    }
}
