//! Forms as browsers send them, in a body or in a query.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, Uri, header};
use web::{Problem, read_body};

/// The most bytes of a form.
const MAX_BYTES: usize = 8 * 1024;

/// The fields of a form (`application/x-www-form-urlencoded`), in the sequence in which they were sent.
#[derive(Debug)]
pub(crate) struct Form(Vec<(String, String)>);

impl<S: Sync> FromRequest<S> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, Problem> {
        let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !media_type.is_some_and(|value| value.starts_with("application/x-www-form-urlencoded")) {
            let detail = "the content-type must be application/x-www-form-urlencoded";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let body = read_body(request.into_body(), MAX_BYTES).await?;
        Ok(Self::parse(&body))
    }
}

impl Form {
    /// The fields of a request's query.
    pub(crate) fn of_query(uri: &Uri) -> Self {
        Self::parse(uri.query().unwrap_or_default().as_bytes())
    }

    fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// The first field with this name; empty if there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// All fields with this name.
    pub(crate) fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}
