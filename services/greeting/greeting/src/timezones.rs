//! The client of the service timezones, which knows the offset of a zone.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;
use web::{FetchError, InvalidSetting, Outgoing, Platform, Problem};

use crate::offset::Offset;

/// The service's name in problems.
const NAME: &str = "timezones";
/// The service's address when the setting `timezones_url` is not set: in the same process.
const URL: &str = "http://timezones.spin.internal";
/// How long a request may take when the setting `timezones_timeout` is not set.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The most bytes of an answer.
const MAX_BODY: usize = 16 * 1024;

/// The service's address, and the time limit of a request.
pub(crate) struct Timezones {
    url: Uri,
    timeout: Duration,
}

/// The part of an answer that is needed.
#[derive(Deserialize)]
struct Zone {
    offset_seconds: i32,
}

impl Timezones {
    pub(crate) fn read(platform: &Platform) -> Result<Self, InvalidSetting> {
        Ok(Self {
            url: platform.origin_or("timezones_url", URL)?,
            timeout: platform.setting_or("timezones_timeout", TIMEOUT)?,
        })
    }

    /// Fetches the offset of the zone `name` now, as a part of the trace of the request with the headers `incoming`.
    pub(crate) async fn offset(
        &self,
        platform: &Platform,
        incoming: &HeaderMap,
        name: &str,
    ) -> Result<Offset, Problem> {
        let broken = |reason: String| FetchError::Protocol(reason).problem(NAME);
        let url = web::join(&self.url, &format!("/timezones/{name}"))
            .ok_or_else(|| broken("the URL is too long".to_owned()))?;
        let request = Outgoing::get(url).trace(incoming).timeout(self.timeout).max_body(MAX_BODY);
        let answer = platform.fetch(request).await.map_err(|error| error.problem(NAME))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => {
                let expected = "the name of a zone that the service timezones has";
                return Err(InvalidSetting::new("timezone_offset", name, expected).into());
            }
            status => return Err(broken(format!("status {}", status.as_u16()))),
        }
        let zone: Zone = serde_json::from_slice(answer.body()).map_err(|error| broken(error.to_string()))?;
        Offset::from_seconds(zone.offset_seconds)
            .ok_or_else(|| broken(format!("an offset of {} s", zone.offset_seconds)))
    }
}
