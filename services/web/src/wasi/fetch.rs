//! Requests to other services by `wasi:http`.

use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::{Either, select};
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Request, RequestOptions, Response, Scheme};
use wasip3::wit_bindgen::StreamResult;

use crate::client::{FetchError, Fetched, Outgoing};
use crate::system::BoxFuture;

/// How many bytes of a body are read at once.
const CHUNK: usize = 16 * 1024;

/// Sends `outgoing` and reads the response.
///
/// The exchange is a task of its own, because the bindings' futures are not `Send`, and axum's handlers must be.
pub(super) fn fetch(outgoing: Outgoing) -> BoxFuture<Result<Fetched, FetchError>> {
    let (sender, receiver) = oneshot::channel();
    wasip3::spawn(async move {
        // The receiver is gone if the client is.
        let _ = sender.send(within_limits(outgoing).await);
    });
    Box::pin(async {
        receiver.await.unwrap_or_else(|_| Err(FetchError::Protocol("the exchange was stopped".to_owned())))
    })
}

async fn within_limits(outgoing: Outgoing) -> Result<Fetched, FetchError> {
    let nanos = u64::try_from(outgoing.timeout.as_nanos()).unwrap_or(u64::MAX);
    let timeout = Box::pin(wasip3::clocks::monotonic_clock::wait_for(nanos));
    match select(Box::pin(exchange(outgoing)), timeout).await {
        Either::Left((result, _)) => result,
        Either::Right(_) => Err(FetchError::Timeout),
    }
}

async fn exchange(outgoing: Outgoing) -> Result<Fetched, FetchError> {
    let max_body = outgoing.max_body;
    let (request, body) = host_request(outgoing)?;
    if let Some((mut writer, body)) = body {
        wasip3::spawn(async move {
            // A server need not read the whole body.
            writer.write_all(body).await;
        });
    }
    let response = client::send(request).await.map_err(failure)?;
    let mut fetched = http::Response::builder().status(response.get_status_code());
    for (name, value) in response.get_headers().copy_all() {
        fetched = fetched.header(name, value);
    }
    let body = read(response, max_body).await?;
    fetched.body(body).map_err(|error| FetchError::Protocol(error.to_string()))
}

/// The writable end of a request's body, and what to write.
type Upload = (wasip3::wit_bindgen::StreamWriter<u8>, Vec<u8>);

/// The host's form of a request.
fn host_request(outgoing: Outgoing) -> Result<(Request, Option<Upload>), FetchError> {
    let refused = |what: &str| FetchError::Connect(format!("the host rejects the request's {what}"));
    let headers: Vec<_> = outgoing
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    let headers = Fields::from_list(&headers).map_err(|_| refused("headers"))?;
    let (upload, contents) = if outgoing.body.is_empty() {
        (None, None)
    } else {
        let (writer, reader) = wasip3::wit_stream::new();
        (Some((writer, outgoing.body.to_vec())), Some(reader))
    };
    let options = RequestOptions::new();
    let nanos = u64::try_from(outgoing.timeout.as_nanos()).unwrap_or(u64::MAX);
    // A host may not support a time limit of its own: the one of `within_limits` holds.
    let _ = options.set_connect_timeout(Some(nanos));
    let (_no_trailers, trailers) = wasip3::wit_future::new(|| Ok(None));
    let (request, _transmission) = Request::new(headers, contents, trailers, Some(options));
    request.set_method(&outgoing.method.into()).map_err(|()| refused("method"))?;
    let url = outgoing.url;
    let scheme = url.scheme().map_or(Scheme::Http, Scheme::from);
    request.set_scheme(Some(&scheme)).map_err(|()| refused("scheme"))?;
    let authority = url.authority().map(http::uri::Authority::as_str);
    request.set_authority(authority).map_err(|()| refused("authority"))?;
    let path = url.path_and_query().map(http::uri::PathAndQuery::as_str);
    request.set_path_with_query(path).map_err(|()| refused("path"))?;
    Ok((request, upload))
}

/// Reads the whole body. A body that its sender did not finish is an error.
async fn read(response: Response, max_body: usize) -> Result<Bytes, FetchError> {
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
        Ok(_) => Ok(body.into()),
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
