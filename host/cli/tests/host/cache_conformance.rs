//! What the response cache stores, reuses, validates and invalidates, by the RFCs' sections. A case is a table of requests: what the origin
//! behind the component answers, and whether the client's answer comes from the origin, from the cache, or from a validation.
//!
//! No case waits for a response to become stale: the origin's response has an `Age`.

mod authorization;
mod conditional;
mod freshness;
mod invalidation;
mod origin;
mod ranges;
mod stale;
mod step;
mod storing;
mod targeted;
mod validation;
mod vary;

use std::io;

use testkit::{Host, http::Response, paths::guest};

use crate::harness::start_app;
use origin::{Answer, Origin};
use step::Step;

/// A name, and requests for one address that no other case uses.
type Case = (&'static str, &'static [Step]);

/// A host with a response cache, and the origin that its component forwards to.
struct Cache {
    host: Host,
    origin: Origin,
}

impl Cache {
    async fn start(flags: &[&str]) -> Self {
        let origin = Origin::start().await;
        let address = format!("origin={}", origin.address());
        let allowed = format!("http://{}", origin.address());
        let own = ["--var", &address, "--allowed-outbound-host", &allowed, "--response-cache", "4MiB"];
        let host = start_app(&guest("forwarder"), &[&own, flags].concat(), &[]).await;
        Self { host, origin }
    }

    /// Sends a request that the origin answers in this way, if the host asks the origin.
    async fn send(&self, target: &str, step: &Step, answer: Answer) -> Response {
        self.try_send(target, step, answer).await.unwrap()
    }

    /// As [`Self::send`]; an error if the host breaks the response off.
    async fn try_send(&self, target: &str, step: &Step, answer: Answer) -> io::Result<Response> {
        self.origin.answer_next(target, answer);
        let mut request = self.host.request(step.method, target);
        for (name, value) in step::lines(step.request) {
            request = request.header(name, value);
        }
        if step.method == "POST" || step.method == "PUT" {
            request = request.body("changed");
        }
        request.try_send().await
    }

    /// Runs the requests of a case one after the other.
    async fn run(&self, at: usize, (name, steps): Case) {
        let mut bodies: Vec<String> = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            let target = format!("/{at}{}", step.path);
            let what = format!("{name}: request {number} ({} {target})", step.method);
            bodies.push(if step.body.is_empty() { format!("answer {number}") } else { step.body.to_owned() });
            let before = self.origin.requests(&target).len();
            let response = self.try_send(&target, step, step.answer(&bodies[number])).await;
            let asked = self.origin.requests(&target).split_off(before);
            step.check_source(&what, &asked, &response);
            match response {
                Ok(response) => step.check_response(&what, &bodies, number, &response),
                Err(error) => assert!(step.is_broken_off(), "{what}: {error}"),
            }
        }
    }
}

/// Runs these cases against one host.
async fn run(cases: &[Case]) {
    run_with(&[], cases).await;
}

/// As [`run`], with further flags of the host.
async fn run_with(flags: &[&str], cases: &[Case]) {
    let cache = Cache::start(flags).await;
    for (at, case) in cases.iter().enumerate() {
        cache.run(at, *case).await;
    }
}
