//! Interim responses, such as 103 (Early Hints), to a request that a component forwards. WASI HTTP cannot hand them to the component,
//! so the host relays them (`docs/decisions/0057-interim-responses-are-relayed.md`).

use http::{Method, Request, Response, StatusCode, uri::PathAndQuery};
use tokio::sync::mpsc;

/// The most interim responses to one request that are relayed. Further ones are dropped.
const MOST_WAITING: usize = 8;

/// Relays interim responses to the client whose request a component serves.
#[derive(Debug)]
pub struct InterimRelay {
    method: Method,
    target: Option<PathAndQuery>,
    client: mpsc::Sender<Response<()>>,
}

impl InterimRelay {
    /// Relays the interim responses to the client's `request`. They arrive at the receiver.
    #[must_use]
    pub fn new<B>(request: &Request<B>) -> (Self, mpsc::Receiver<Response<()>>) {
        let (client, receiver) = mpsc::channel(MOST_WAITING);
        let target = request.uri().path_and_query().cloned();
        (Self { method: request.method().clone(), target, client }, receiver)
    }

    /// The client to relay to, if `request` is the client's, sent on to another server: the method, the path and the query are the same.
    /// An interim response to another request is about another resource.
    pub(crate) fn of_forwarded<B>(&self, request: &Request<B>) -> Option<mpsc::Sender<Response<()>>> {
        let forwarded =
            *request.method() == self.method && request.uri().path_and_query() == self.target.as_ref();
        forwarded.then(|| self.client.clone())
    }
}

/// Relays an interim response. 100 is about one connection's request body (RFC 9110, section 15.2.1), and 101 never comes: the host does
/// not ask for other protocols.
pub(crate) fn relay(client: &mpsc::Sender<Response<()>>, interim: Response<()>) {
    if interim.status() > StatusCode::SWITCHING_PROTOCOLS {
        // Full, or the client has its response.
        let _ = client.try_send(interim);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, uri: &'static str) -> Request<()> {
        let mut request = Request::new(());
        (*request.method_mut(), *request.uri_mut()) = (method, http::Uri::from_static(uri));
        request
    }

    #[test]
    fn only_a_forwarded_request_is_the_clients() {
        let (relay, _client) = InterimRelay::new(&request(Method::GET, "http://front.example/a?b=1"));
        assert!(relay.of_forwarded(&request(Method::GET, "http://back.example/a?b=1")).is_some());
        for other in [
            request(Method::HEAD, "http://back.example/a?b=1"),
            request(Method::GET, "http://back.example/a"),
            request(Method::GET, "http://back.example/b?b=1"),
        ] {
            assert!(relay.of_forwarded(&other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn interim_responses_are_bounded_and_continue_is_not_relayed() {
        let forwarded = request(Method::GET, "http://front.example/");
        let (source, mut client) = InterimRelay::new(&forwarded);
        let sender = source.of_forwarded(&forwarded).unwrap();
        for status in
            [StatusCode::CONTINUE, StatusCode::PROCESSING].into_iter().chain([StatusCode::EARLY_HINTS; 20])
        {
            let mut interim = Response::new(());
            *interim.status_mut() = status;
            relay(&sender, interim);
        }
        assert_eq!(client.try_recv().unwrap().status(), StatusCode::PROCESSING);
        assert_eq!(std::iter::from_fn(|| client.try_recv().ok()).count(), MOST_WAITING - 1);
    }
}
