//! `wasi:http`'s client as [`Fetch`].

use spin_sdk::wasip3;
use spin_sdk::wasip3::http::client;
use spin_sdk::wasip3::http::types::{ErrorCode, Fields, Request, Response, Scheme};
use spin_sdk::wit_bindgen::StreamResult;

use super::Wasi;
use crate::ports::{Call, Fetch, FetchError, Fetched};

/// How much of a body is asked for at once.
const CHUNK: usize = 64 * 1024;

impl Fetch for Wasi {
    async fn fetch(&self, call: &Call<'_>, max_body: usize) -> Result<Fetched, FetchError> {
        let response = client::send(request(call)?).await.map_err(failure)?;
        let status = response.get_status_code();
        let headers = response.get_headers().copy_all();
        let body = read(response, max_body).await?;
        Ok(Fetched { status, headers, body })
    }
}

fn request(call: &Call<'_>) -> Result<Request, FetchError> {
    let headers: Vec<_> =
        call.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into_bytes())).collect();
    let refused = |what: &str| FetchError::Connect(format!("the host refuses the request's {what}"));
    let headers = Fields::from_list(&headers).map_err(|_| refused("headers"))?;
    let (_no_trailers, trailers) = wasip3::wit_future::new(|| Ok(None));
    let (request, _transmission) = Request::new(headers, None, trailers, None);
    let scheme = if call.https { Scheme::Https } else { Scheme::Http };
    request.set_scheme(Some(&scheme)).map_err(|()| refused("scheme"))?;
    request.set_authority(Some(call.authority)).map_err(|()| refused("authority"))?;
    request.set_path_with_query(Some(call.path)).map_err(|()| refused("path"))?;
    Ok(request)
}

/// The whole body, whose end must be the one that its sender meant.
async fn read(response: Response, max_body: usize) -> Result<Vec<u8>, FetchError> {
    let (_result, result) = wasip3::wit_future::new(|| Ok(()));
    let (mut stream, trailers) = Response::consume_body(response, result);
    let mut body = Vec::new();
    loop {
        body.reserve(CHUNK);
        let (result, read) = stream.read(body).await;
        body = read;
        if body.len() > max_body {
            return Err(FetchError::BodyTooLarge);
        }
        match result {
            StreamResult::Complete(_) => {}
            StreamResult::Dropped | StreamResult::Cancelled => break,
        }
    }
    match trailers.await {
        Ok(_) => Ok(body),
        Err(error) => Err(failure(error)),
    }
}

/// The host's error code in the terms of the answer table.
fn failure(code: ErrorCode) -> FetchError {
    match code {
        ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::DnsTimeout
        | ErrorCode::HttpResponseTimeout => FetchError::Timeout,
        ErrorCode::HttpResponseBodySize(_) => FetchError::BodyTooLarge,
        ErrorCode::HttpResponseIncomplete
        | ErrorCode::HttpResponseHeaderSectionSize(_)
        | ErrorCode::HttpResponseHeaderSize(_)
        | ErrorCode::HttpResponseTrailerSectionSize(_)
        | ErrorCode::HttpResponseTrailerSize(_)
        | ErrorCode::HttpResponseTransferCoding(_)
        | ErrorCode::HttpResponseContentCoding(_)
        | ErrorCode::HttpProtocolError => FetchError::Protocol(format!("{code:?}")),
        other => FetchError::Connect(format!("{other:?}")),
    }
}
