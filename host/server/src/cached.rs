//! A request that the response cache may answer.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    time::{Instant, SystemTime},
};

use http::{Request, Response, header, uri::Scheme};
use http_body::Body;
use hyper::body::Incoming;
use wasi_http_host_application::Served;
use wasi_http_host_cache::{Answer, Ask, Asked, Fetch, Filling, Outcome, Received, Space, Turn};
use wasi_http_host_core::{BodyFailure, BodyLimits, LimitedBody};
use wasi_http_host_runtime::{Content, GuestBody, Reply, was_passed_on};
use wasmtime_wasi_http::{Error, WasiBody};

use super::{
    exchange::{Exchange, call},
    limits::ResponseBodyLimits,
    refusal::Refusal,
    request::{is_hop_by_hop_free, only},
};

/// How often a request waits for another one before it goes to the component.
const MAX_WAITS: usize = 4;

impl Exchange {
    /// Answers out of the cache, or asks the component and stores what it answers.
    pub(super) async fn run_cached(
        &mut self,
        request: Request<Incoming>,
        served: &Arc<Served>,
        space: &Arc<Space>,
    ) -> Result<Reply, Refusal> {
        // Nearly all requests name their target and their fields as the component will see them. A hit on one of these costs
        // nothing beyond the look into the store: an address that is not valid has no responses.
        let plain = plain_target(&request);
        if let Some((authority, path)) = plain {
            let asked = self.asked(&request, authority, path);
            return match self.consult(&asked, served, space).await? {
                Consulted::Answer(answer) => Ok(reply(answer)),
                Consulted::Refresh(answer, fetch) => {
                    let request = self.prepare(request)?;
                    self.refresh(request, served, fetch);
                    Ok(reply(answer))
                }
                Consulted::Fetch(fetch) => {
                    let request = self.prepare(request)?;
                    self.fetch(request, served, fetch).await
                }
            };
        }
        let request = self.prepare(request)?;
        let authority = request.uri().authority().map_or("", |authority| authority.as_str()).to_owned();
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let asked = self.asked(&request, &authority, &path);
        match self.consult(&asked, served, space).await? {
            Consulted::Answer(answer) => Ok(reply(answer)),
            Consulted::Refresh(answer, fetch) => {
                self.refresh(request, served, fetch);
                Ok(reply(answer))
            }
            Consulted::Fetch(fetch) => self.fetch(request, served, fetch).await,
        }
    }

    fn asked<'a, B: Body>(&self, request: &'a Request<B>, authority: &'a str, path: &'a str) -> Asked<'a> {
        Asked {
            method: request.method(),
            https: self.worker.shared.scheme() == Scheme::HTTPS,
            authority,
            path,
            headers: request.headers(),
            is_authenticated: self.client.certificate.is_some(),
            has_body: !request.body().is_end_stream(),
        }
    }

    /// Asks the cache, and waits for other requests where that may help.
    async fn consult(
        &mut self,
        asked: &Asked<'_>,
        served: &Served,
        space: &Arc<Space>,
    ) -> Result<Consulted, Refusal> {
        // A request that has passed through this host may be a part of the request that it would wait for.
        let mut turn = if was_passed_on(asked.headers) { Turn::Alone } else { Turn::First };
        for wait in 1.. {
            match space.ask(asked, Instant::now(), turn) {
                Ask::Answer(answer, outcome) => {
                    self.cached = Some(outcome);
                    return Ok(Consulted::Answer(answer));
                }
                Ask::Refresh(answer, fetch) => {
                    self.cached = Some(Outcome::Stale);
                    return Ok(Consulted::Refresh(answer, fetch));
                }
                Ask::Fetch(fetch) => {
                    self.cached = Some(fetch.outcome());
                    return Ok(Consulted::Fetch(fetch));
                }
                Ask::OnlyIfCached => return Err(Refusal::NotCached),
                Ask::Wait(flight) => {
                    let following = space.follow(served.deployment.bounds.max_queued_requests);
                    turn = match following {
                        Some(_following) if wait < MAX_WAITS => flight.settled().await,
                        _ => Turn::Alone,
                    };
                }
            }
        }
        Err(Refusal::NotCached)
    }

    /// Asks the component, and gives its response to the cache.
    async fn fetch(
        &mut self,
        mut request: Request<WasiBody>,
        served: &Arc<Served>,
        fetch: Box<Fetch>,
    ) -> Result<Reply, Refusal> {
        fetch.prepare(request.headers_mut());
        let Reply { mut head, content } = match self.call(request, served).await {
            Ok(reply) => reply,
            Err(refusal) => {
                return match fetch.failed(Instant::now()) {
                    Some(answer) if matches!(refusal, Refusal::Unserved(_)) => {
                        self.refused(&refusal);
                        self.cached = Some(Outcome::Stale);
                        Ok(reply(answer))
                    }
                    _ => Err(refusal),
                };
            }
        };
        match fetch.received(head.status, &mut head.headers, Instant::now(), SystemTime::now()) {
            Received::Pass => {}
            Received::Answer(answer, outcome) => {
                self.cached = Some(outcome);
                return Ok(reply(answer));
            }
            Received::Fill(filling) => match &content {
                Content::Whole(bytes) => {
                    filling.whole(bytes);
                }
                Content::Stream(_) => self.filling = Some(filling),
            },
        }
        Ok(Reply { head, content })
    }

    /// Asks the component in the background.
    fn refresh(&mut self, request: Request<WasiBody>, served: &Arc<Served>, fetch: Box<Fetch>) {
        let limits = self.worker.shared.limits.response_body;
        tokio::spawn(refresh(request, served.clone(), fetch, limits));
    }
}

/// What the cache says to a request.
enum Consulted {
    Answer(Answer),
    Refresh(Answer, Box<Fetch>),
    Fetch(Box<Fetch>),
}

fn reply(answer: Answer) -> Reply {
    let Answer { status, headers, body } = answer;
    let (mut head, ()) = Response::new(()).into_parts();
    (head.status, head.headers) = (status, headers);
    Reply { head, content: Content::Whole(body) }
}

/// The authority and the path that the component will see, if the request names them as they are, and no field of the request
/// is removed before the component sees it. `None`: the request must be prepared first.
fn plain_target<B>(request: &Request<B>) -> Option<(&str, &str)> {
    let (uri, headers) = (request.uri(), request.headers());
    if !is_hop_by_hop_free(headers) {
        return None;
    }
    let path = uri.path_and_query()?.as_str();
    if !path.starts_with('/') {
        return None;
    }
    let authority = match (uri.authority(), only(headers, &header::HOST)) {
        (None, Some(Some(host))) => host.to_str().ok()?,
        (Some(authority), Some(None)) => authority.as_str(),
        _ => return None,
    };
    Some((authority, path))
}

/// Asks the component again for a stale response, within the limits of a client's request.
async fn refresh(
    mut request: Request<WasiBody>,
    served: Arc<Served>,
    fetch: Box<Fetch>,
    limits: ResponseBodyLimits,
) {
    let started = Instant::now();
    fetch.prepare(request.headers_mut());
    let Ok(permit) = served.deployment.admission.admit().await else { return };
    let Ok(Reply { mut head, content }) = call(request, &served, started, None, permit, None).await else {
        return;
    };
    let received = fetch.received(head.status, &mut head.headers, Instant::now(), SystemTime::now());
    let Received::Fill(filling) = received else { return };
    match content {
        Content::Whole(bytes) => {
            filling.whole(&bytes);
        }
        Content::Stream(body) => {
            let deadline = Some(tokio::time::Instant::now() + limits.total);
            let limits = BodyLimits { size: None, idle: Some(limits.idle), deadline };
            let incomplete = |_: &mut GuestBody, _: BodyFailure<Error>| ();
            read(LimitedBody::new(body, limits, incomplete), filling).await;
        }
    }
}

/// Reads the body to its end. An incomplete body is not stored.
async fn read<B: Body<Data = bytes::Bytes, Error = ()> + Unpin>(mut body: B, mut filling: Box<Filling>) {
    loop {
        match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            None => {
                filling.finish();
                return;
            }
            Some(Ok(frame)) => match frame.data_ref() {
                Some(bytes) => filling.push(bytes),
                None => return filling.give_up(),
            },
            Some(Err(())) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn a_plain_request_names_one_server_and_hides_no_field() {
        let plain = |uri: &str, fields: &[(&str, &str)]| {
            let mut request = Request::builder().uri(uri);
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let request = request.body(()).unwrap();
            plain_target(&request).map(|(authority, path)| format!("{authority}{path}"))
        };
        assert_eq!(plain("/a?b", &[("host", "x:1")]).as_deref(), Some("x:1/a?b"));
        assert_eq!(plain("/", &[("host", "x"), ("connection", "keep-alive")]).as_deref(), Some("x/"));
        assert_eq!(plain("https://x/a", &[]).as_deref(), Some("x/a"));
        for (uri, fields) in [
            ("/", &[][..]),
            ("/", &[("host", "x"), ("host", "y")]),
            ("/", &[("host", "x"), ("connection", "a")]),
            ("/", &[("host", "x"), ("transfer-encoding", "chunked")]),
            ("http://x/a", &[("host", "x")]),
            ("*", &[("host", "x")]),
        ] {
            assert_eq!(plain(uri, fields), None, "{uri} {fields:?}");
        }
    }

    #[test]
    fn an_answer_is_a_whole_reply() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ETAG, http::HeaderValue::from_static("\"a\""));
        let answer = Answer { status: http::StatusCode::NOT_FOUND, headers, body: "x".into() };
        let Reply { head, content } = reply(answer);
        assert_eq!(head.status, http::StatusCode::NOT_FOUND);
        assert_eq!(head.headers[header::ETAG], "\"a\"");
        assert!(matches!(content, Content::Whole(body) if body == "x"));
    }
}
