//! Requests to the guest `service` (`host/guests/service`), which misbehaves on request.

use fastrand::Rng;
use testkit::http::Response;

use super::{Grade, Traffic, TrafficRequest, shown};

/// Greetings and short sleeps, and among them requests that fail.
pub(crate) struct Guest {
    /// The target of the failing requests.
    pub(crate) failing: &'static str,
    /// The number of failing requests in a thousand.
    pub(crate) permille: u64,
}

impl Traffic for Guest {
    fn draw(&self, random: &mut Rng) -> TrafficRequest {
        if random.u64(..1000) < self.permille {
            // The request asks for a failure: the documented error is no loss.
            return TrafficRequest {
                target: self.failing.to_owned(),
                check: Box::new(|reply| failed(reply, Grade::Right)),
            };
        }
        let (target, expected) = if random.u64(..4) == 0 {
            ("/sleep/10".to_owned(), "slept".to_owned())
        } else {
            let name = random.u64(..1000);
            (format!("/hello/{name}"), format!("hello {name}"))
        };
        let check = move |reply: &Response| match reply.status {
            200 if reply.body == expected.as_bytes() => Grade::Right,
            // Another request ended the instance that they shared.
            500 | 503 => failed(reply, Grade::Refused(reply.status)),
            _ => Grade::Wrong(shown(reply)),
        };
        TrafficRequest { target, check: Box::new(check) }
    }
}

/// `grade` if the response is one of the host's own errors: a `detail` without internals.
fn failed(reply: &Response, grade: Grade) -> Grade {
    let body = serde_json::from_slice::<serde_json::Value>(&reply.body).unwrap_or_default();
    let worded = body.get("detail").is_some_and(serde_json::Value::is_string);
    if matches!(reply.status, 500 | 503) && worded && reply.header("x-request-id").is_some() {
        grade
    } else {
        Grade::Wrong(shown(reply))
    }
}
