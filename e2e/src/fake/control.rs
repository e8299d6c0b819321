//! The fake's control endpoint, for those who run it as a process of its own.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::connection::Request;
use super::genuine::unescape;
use super::people::User;
use super::{Answer, Shared, lock};

/// What `GET /_fake` says.
const HELP: &str = "\
GET    /_fake/calls                       what the fake was asked, the most open at once, and the total
DELETE /_fake/calls                       forget it
GET    /_fake/users                       logins, with their public and secret gists
PUT    /_fake/users/{login}?public=&secret=  add or replace a user
PUT    /_fake/next/{login}                answers to the next requests: a JSON array of answers
PUT    /_fake/always/{login}              the answer to all further requests: one JSON answer
DELETE /_fake/always/{login}              the truth again
PUT    /_fake/rate-limit?requests=        requests allowed from now on

An answer: {\"status\":503,\"headers\":[[\"retry-after\",\"2\"]],\"body\":\"…\",\"delay_ms\":100,\"delivery\":\"chunked\"}
Without a status it is the truth, with that delay and delivery. Deliveries: \"sized\" \"chunked\" {\"drip\":{\"bytes\":1,\"every_ms\":10}}
{\"claim\":9999} {\"cut\":10} {\"reset\":10} {\"filler\":100000000} \"endless\" {\"raw\":\"garbage\"} \"close\" \"silence\"
";

/// Does what a control request says.
pub(crate) fn answer(shared: &Shared, request: &Request) -> Answer {
    let parts: Vec<_> =
        request.path.trim_start_matches("/_fake").split('/').filter(|part| !part.is_empty()).collect();
    let done = || Answer::from((200, json!({ "done": true })));
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", []) => Answer::status(200).body(HELP).header("content-type", "text/plain; charset=utf-8"),
        ("GET", ["calls"]) => {
            let journal = &shared.journal;
            Answer::from((
                200,
                json!({ "total": journal.total(), "peak": journal.peak(), "calls": journal.calls() }),
            ))
        }
        ("DELETE", ["calls"]) => {
            shared.journal.clear();
            done()
        }
        ("GET", ["users"]) => Answer::from((200, users(shared))),
        ("PUT", ["users", login]) => {
            let (public, secret) =
                (number(request, "public").unwrap_or(0), number(request, "secret").unwrap_or(0));
            lock(&shared.people).add(User::believable(&unescape(login), public, secret));
            done()
        }
        ("PUT", ["next", login]) => match serde_json::from_slice::<Vec<Answer>>(&request.body) {
            Ok(answers) => {
                shared.script(&unescape(login), |script| script.next.extend(answers));
                done()
            }
            Err(error) => refuse(&error),
        },
        ("PUT", ["always", login]) => match serde_json::from_slice::<Answer>(&request.body) {
            Ok(answer) => {
                shared.script(&unescape(login), |script| script.then = Some(answer));
                done()
            }
            Err(error) => refuse(&error),
        },
        ("DELETE", ["always", login]) => {
            lock(&shared.scripts).remove(&unescape(login).to_lowercase());
            done()
        }
        ("PUT", ["rate-limit"]) => match number(request, "requests") {
            Some(requests) => {
                shared.rate_limit.store(requests as u64, Ordering::Relaxed);
                shared.used.store(0, Ordering::Relaxed);
                done()
            }
            None => Answer::from((400, json!({ "error": "say ?requests=N" }))),
        },
        _ => Answer::from((404, json!({ "error": "no such control; see GET /_fake" }))),
    }
}

fn refuse(error: &serde_json::Error) -> Answer {
    Answer::from((400, json!({ "error": error.to_string() })))
}

fn users(shared: &Shared) -> Value {
    let users = lock(&shared.people).all();
    let rows = users.iter().map(|user| {
        let public = user.gists.iter().filter(|gist| gist.public).count();
        json!({ "login": user.login, "id": user.id, "public": public, "secret": user.gists.len() - public })
    });
    rows.collect()
}

fn number(request: &Request, name: &str) -> Option<usize> {
    let found =
        request.query.split('&').filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name);
    found.and_then(|(_, value)| value.parse().ok())
}
