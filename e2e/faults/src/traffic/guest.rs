//! Requests to the host's own guest (`host/guests/service`), which can be made to misbehave.

use e2e::Dice;
use e2e::harness::Reply;

use super::{Grade, Task, Traffic, shown};

/// Greetings, short naps, and among them so many requests in a thousand that go wrong.
pub(crate) struct Guest {
    /// What those ask for.
    pub(crate) evil: &'static str,
    /// How many in a thousand.
    pub(crate) permille: u64,
}

impl Traffic for Guest {
    fn draw(&self, dice: &mut Dice) -> Task {
        if dice.below(1000) < self.permille {
            // What is asked for is answered as documented, and is no loss.
            return Task {
                target: self.evil.to_owned(),
                judge: Box::new(|reply| failed(reply, Grade::Right)),
            };
        }
        let (target, expected) = if dice.below(4) == 0 {
            ("/sleep/10".to_owned(), "slept".to_owned())
        } else {
            let name = dice.below(1000);
            (format!("/hello/{name}"), format!("hello {name}"))
        };
        let judge = move |reply: &Reply| match reply.status {
            200 if reply.body == expected.as_bytes() => Grade::Right,
            // Another in the same instance brought it down.
            500 | 503 => failed(reply, Grade::Refused(reply.status)),
            _ => Grade::Wrong(shown(reply)),
        };
        Task { target, judge: Box::new(judge) }
    }
}

/// `grade`, if it is an error as the host words it: a detail that tells nothing of the inside.
fn failed(reply: &Reply, grade: Grade) -> Grade {
    let body = serde_json::from_slice::<serde_json::Value>(&reply.body).unwrap_or_default();
    let worded = body.get("detail").is_some_and(serde_json::Value::is_string);
    if matches!(reply.status, 500 | 503) && worded && reply.header("x-request-id").is_some() {
        grade
    } else {
        Grade::Wrong(shown(reply))
    }
}
