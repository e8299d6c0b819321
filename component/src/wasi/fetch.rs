//! [`Fetch`] on `wasi:http`.

use spin_sdk::wasip3;
use spin_sdk::wasip3::http::client;
use spin_sdk::wasip3::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme};
use spin_sdk::wit_bindgen::StreamResult;

use super::platform::Wasi;
use crate::ports::{Fetch, FetchError, FetchMethod, FetchRequest, FetchResponse};

/// How many bytes of a body are read at once.
const CHUNK: usize = 64 * 1024;

impl Fetch for Wasi {
    async fn fetch(&self, request: &FetchRequest<'_>, max_body: usize) -> Result<FetchResponse, FetchError> {
        let response = client::send(outgoing(request)?).await.map_err(failure)?;
        let status = response.get_status_code();
        let headers = response.get_headers().copy_all();
        let body = read(response, max_body).await?;
        Ok(FetchResponse { status, headers, body })
    }
}

/// The host's form of `request`.
fn outgoing(request: &FetchRequest<'_>) -> Result<Request, FetchError> {
    let headers: Vec<_> = request
        .headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone().into_bytes()))
        .collect();
    let refused = |what: &str| FetchError::Connect(format!("the host rejects the request's {what}"));
    let headers = Fields::from_list(&headers).map_err(|_| refused("headers"))?;
    let (_no_trailers, trailers) = wasip3::wit_future::new(|| Ok(None));
    let (outgoing, _transmission) = Request::new(headers, None, trailers, None);
    // A new request is a GET.
    if request.method == FetchMethod::Post {
        outgoing.set_method(&Method::Post).map_err(|()| refused("method"))?;
    }
    let scheme = if request.https { Scheme::Https } else { Scheme::Http };
    outgoing.set_scheme(Some(&scheme)).map_err(|()| refused("scheme"))?;
    outgoing.set_authority(Some(request.authority)).map_err(|()| refused("authority"))?;
    outgoing.set_path_with_query(Some(request.path)).map_err(|()| refused("path"))?;
    Ok(outgoing)
}

/// Reads the whole body. A body that its sender did not finish is an error.
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

/// The error that the host's code stands for.
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
