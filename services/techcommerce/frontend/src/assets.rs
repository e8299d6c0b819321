//! Style sheet, script and icon: their names have a hash of their content, so that clients may cache them for ever.

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use web::Problem;

use crate::encoding::accepts;

struct Asset {
    source: &'static str,
    name: &'static str,
    media_type: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
    br: &'static [u8],
}

/// Written by `build.rs`.
const ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The path of an asset, by the name of its source.
pub(crate) fn path(source: &str) -> String {
    let name = ASSETS.iter().find(|asset| asset.source == source).map_or(source, |asset| asset.name);
    format!("/assets/{name}")
}

pub(crate) async fn serve(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let asset = ASSETS.iter().find(|asset| asset.name == name);
    let asset = asset.ok_or_else(|| Problem::not_found("there is no such asset"))?;
    let mut response = if accepts(&headers, "br") {
        ([(header::CONTENT_ENCODING, "br")], asset.br).into_response()
    } else if accepts(&headers, "gzip") {
        ([(header::CONTENT_ENCODING, "gzip")], asset.gzip).into_response()
    } else {
        asset.plain.into_response()
    };
    let headers = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::VARY, "accept-encoding"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}
