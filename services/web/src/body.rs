//! The bodies of requests and responses.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// The most bytes of a request's body that [`Json`] reads.
pub const MAX_BODY: usize = 64 * 1024;

/// Reads the whole of `body`.
///
/// # Errors
/// 413 if it has more than `limit` bytes; 400 if it ends early.
pub async fn read_body(body: Body, limit: usize) -> Result<Bytes, Problem> {
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let detail = format!("the body has more than {limit} bytes");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail))
        }
        Err(error) => Err(Problem::bad_request(format!("the body ended early: {error}"))),
    }
}

/// JSON: as an argument, the body of a request; as a result, the body of a response.
///
/// A request whose body is no JSON is a 400, one with other members than `T` has a 422, both with the place of the error.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let is_json = request.headers().get(header::CONTENT_TYPE).is_some_and(is_json);
        if !is_json {
            let detail = "the content-type must be application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let body = read_body(request.into_body(), MAX_BODY).await?;
        parse(&body).map(Self)
    }
}

/// Parses the whole of `body`.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        if error.is_data() {
            let place = if path == "." { String::new() } else { format!("{path}: ") };
            Problem::invalid(format!("{place}{error}"))
        } else {
            Problem::bad_request(format!("the body is no JSON: {error}"))
        }
    })?;
    json.end().map_err(|error| Problem::bad_request(format!("the body is no JSON: {error}")))?;
    Ok(value)
}

fn is_json(content_type: &HeaderValue) -> bool {
    let essence = content_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        const JSON: HeaderValue = HeaderValue::from_static("application/json");
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, JSON)], body).into_response(),
            Err(error) => {
                let detail = format!("the response cannot be serialised: {error}");
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Item {
        count: u8,
    }

    fn read(content_type: &str, body: &str) -> Result<Item, (u16, String)> {
        let request = Request::builder().header("content-type", content_type);
        let request = request.body(Body::from(body.to_owned())).unwrap();
        match block_on(Json::from_request(request, &())) {
            Ok(Json(item)) => Ok(item),
            Err(problem) => Err((problem.status.as_u16(), problem.detail)),
        }
    }

    #[test]
    fn json_is_read_and_an_error_names_the_place() {
        assert_eq!(read("Application/JSON; charset=utf-8", r#"{"count":2}"#), Ok(Item { count: 2 }));
        for (content_type, body, status, detail) in [
            ("text/plain", "{}", 415, "application/json"),
            ("application/json", "{", 400, "line 1 column 1"),
            ("application/json", r#"{"count":2}{"#, 400, "trailing"),
            ("application/json", r#"{"count":256}"#, 422, "count: invalid value: integer `256`"),
            ("application/json", r#"{"count":1,"x":1}"#, 422, "unknown field `x`"),
            ("application/json", &format!("\"{}\"", "x".repeat(MAX_BODY)), 413, "65536"),
        ] {
            let (actual, text) = read(content_type, body).unwrap_err();
            assert_eq!(actual, status, "{body:.20}: {text}");
            assert!(text.contains(detail), "{body:.20}: {text}");
        }
    }
}
