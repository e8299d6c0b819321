//! The platform's page, which shows the backend's data.
//!
//! The service writes the data into the page, so the page needs no script. With its script, the page asks the backend again.
//!
//! | setting | | |
//! | --- | --- | --- |
//! | `backend_url` | `http://backend.spin.internal` | the backend's address |
//! | `backend_timeout` | `2s` | how long a request to the backend may take |

mod asset;
mod page;

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use web::{FetchError, InvalidSetting, Outgoing, Platform, Problem, Service};

use crate::asset::Asset;
use crate::page::{Data, Page};

#[cfg(target_family = "wasm")]
web::export!(router);

/// The backend's address when the setting `backend_url` is not set: in the same process.
const BACKEND_URL: &str = "http://backend.spin.internal";
/// How long a request to the backend may take when the setting `backend_timeout` is not set.
const BACKEND_TIMEOUT: Duration = Duration::from_secs(2);
/// The most bytes of the backend's answer.
const MAX_BODY: usize = 16 * 1024;
/// What the page may load: its own files, and the backend's data.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const STYLE: Asset = Asset::new("style.css", "text/css; charset=utf-8", include_str!("../assets/style.css"));
const SCRIPT: Asset =
    Asset::new("script.js", "text/javascript; charset=utf-8", include_str!("../assets/script.js"));

/// The backend's address, and the time limit of a request.
struct Backend {
    url: Uri,
    timeout: Duration,
}

/// The service's router.
pub fn router(platform: &Platform) -> Router {
    let routes = Router::new()
        .route("/", get(page))
        .route(&STYLE.path(), get(async |headers: HeaderMap| STYLE.response(&headers)))
        .route(&SCRIPT.path(), get(async |headers: HeaderMap| SCRIPT.response(&headers)))
        .with_state(platform.clone());
    Service::new("frontend", platform)
        .openapi(include_str!("openapi.json"))
        .ready_if(|platform| Backend::read(platform).map(|_| ()))
        .routes(routes)
}

async fn page(State(platform): State<Platform>, headers: HeaderMap) -> Result<Response, Problem> {
    let backend = Backend::read(&platform)?;
    let (data, state) = match backend.data(&platform, &headers).await {
        Ok(data) => (data, "The backend has answered.".to_owned()),
        Err(error) => (Data::default(), format!("The backend does not answer: {error}")),
    };
    let page = Page { style: &STYLE.path(), script: &SCRIPT.path(), state: &state, data: &data };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    Ok((headers, page.html()).into_response())
}

impl Backend {
    fn read(platform: &Platform) -> Result<Self, InvalidSetting> {
        Ok(Self {
            url: platform.origin_or("backend_url", BACKEND_URL)?,
            timeout: platform.setting_or("backend_timeout", BACKEND_TIMEOUT)?,
        })
    }

    /// Fetches the data, as a part of the trace of the request with the headers `incoming`.
    async fn data(&self, platform: &Platform, incoming: &HeaderMap) -> Result<Data, FetchError> {
        let url = web::join(&self.url, "/api/data")
            .ok_or_else(|| FetchError::Connect("the URL is too long".to_owned()))?;
        let request = Outgoing::get(url).trace(incoming).timeout(self.timeout).max_body(MAX_BODY);
        let answer = platform.fetch(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Protocol(format!("status {}", answer.status().as_u16())));
        }
        serde_json::from_slice(answer.body()).map_err(|error| FetchError::Protocol(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use web::fake::{Fake, get, send};

    use super::*;

    const BACKEND: &str = "backend.spin.internal";

    /// A frontend, and a backend that answers `body`.
    fn frontend(body: String) -> (Fake, Router) {
        let fake = Fake::new();
        fake.serve(
            BACKEND,
            Router::new().route("/api/data", axum::routing::get(move || async move { body })),
        );
        let router = router(&fake.platform());
        (fake, router)
    }

    #[test]
    fn the_page_shows_the_data_without_a_script() {
        let body = r#"{"message":"a < b & \"c\"","timestamp":"T","version":"V","cluster":"{state}"}"#;
        let (fake, router) = frontend(body.to_owned());
        let trace = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let answer = send(&router, "GET", "/", &[trace], "");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        assert!(answer.text().contains("<dd data-member=\"message\">a &lt; b &amp; &quot;c&quot;</dd>"));
        assert!(
            answer.text().contains("<dd data-member=\"cluster\">{state}</dd>"),
            "no value is a placeholder"
        );
        assert!(answer.text().contains("The backend has answered."));
        assert_eq!(fake.requests()[0].headers[trace.0], trace.1);
    }

    #[test]
    fn without_the_backend_the_page_says_so() {
        let (fake, router) = frontend("<html>".to_owned());
        assert!(get(&router, "/").text().contains("The backend does not answer: invalid response"));
        fake.fail(BACKEND, FetchError::Connect("<refused>".to_owned()));
        let answer = get(&router, "/");
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains("The backend does not answer: no connection: &lt;refused&gt;"));
    }

    #[test]
    fn the_policy_allows_nothing_inline() {
        let (_, router) = frontend(String::new());
        let answer = get(&router, "/");
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe"));
        let text = answer.text();
        assert!(!text.contains("<style") && !text.contains(" style=") && !text.contains(" onclick"));
        assert_eq!(text.matches("<script").count(), text.matches("<script type=\"module\" src=\"").count());
    }

    #[test]
    fn assets_are_cached_by_their_hash() {
        let (_, router) = frontend(String::new());
        let page = get(&router, "/").text().to_owned();
        for asset in [STYLE, SCRIPT] {
            let path = asset.path();
            assert!(page.contains(&format!("=\".{path}\"")), "the page links {path} relatively");
            let answer = get(&router, &path);
            assert_eq!(answer.status, 200, "{path}");
            assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
            let again = send(&router, "GET", &path, &[("if-none-match", answer.header("etag"))], "");
            assert_eq!((again.status, again.text()), (304, ""));
        }
        assert_eq!(get(&router, "/assets/style.0000000000000000.css").status, 404);
    }

    proptest! {
        #[test]
        fn no_value_of_the_backend_becomes_a_tag(message: String) {
            let data = serde_json::json!({"message": message, "timestamp": "", "version": "", "cluster": ""});
            let plain = get(&frontend(data.to_string().replace(&*message, "")).1, "/").text().matches('<').count();
            let text = get(&frontend(data.to_string()).1, "/").text().to_owned();
            prop_assert_eq!(text.matches('<').count(), plain);
        }
    }
}
