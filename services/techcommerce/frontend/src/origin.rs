//! Refuses forms that another site's page has sent (cross-site request forgery).
//!
//! A browser says where a form comes from: in `Sec-Fetch-Site`, and in `Origin`. The cookies are `SameSite=Lax` besides.

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use web::Problem;

/// A middleware.
pub(crate) async fn check(request: Request, next: Next) -> Response {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if is_safe || is_own(request.headers(), request.uri()) {
        return next.run(request).await;
    }
    let detail = "the form was not sent by a page of this shop: open the shop and send the form again";
    Problem::new(StatusCode::FORBIDDEN, detail).into_response()
}

/// Whether a page of this shop has sent the request. A request that does not tell is refused.
fn is_own(headers: &HeaderMap, uri: &Uri) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).or_else(|| uri.authority().map(Authority::as_str));
    let origin = text(header::ORIGIN).and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    host.is_some() && origin == host
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_own_with(pairs: &[(&'static str, &'static str)]) -> bool {
        let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        is_own(&headers.collect(), &Uri::from_static("http://shop.example/basket"))
    }

    #[test]
    fn only_a_page_of_the_same_origin_may_send_a_form() {
        for (pairs, expected) in [
            (&[("sec-fetch-site", "same-origin"), ("origin", "null")][..], true),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://shop.example")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("origin", "http://shop.example")], true),
            (&[("host", "shop.example:8080"), ("origin", "https://shop.example:8080")], true),
            (&[("host", "shop.example:8080"), ("origin", "https://shop.example")], false),
            (&[("origin", "http://evil.example")], false),
            (&[("origin", "http://shop.example.evil.example")], false),
            (&[("origin", "null")], false),
            (&[], false),
        ] {
            assert_eq!(is_own_with(pairs), expected, "{pairs:?}");
        }
    }
}
