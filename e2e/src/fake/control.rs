//! The control endpoint `/_fake`, for a fake that runs as a process of its own.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::app::{App, AppKey};
use super::cases::Case;
use super::common::json_response;
use super::lock::lock;
use super::request::{FakeRequest, unescape};
use super::response::ScriptedResponse;
use super::state::{APP, State};
use super::users::User;

/// The body of `GET /_fake`.
const HELP: &str = "\
GET    /_fake/calls                       recorded requests, the peak of open requests, and the total
DELETE /_fake/calls                       forget the recorded requests
GET    /_fake/users                       logins, with their public and secret gists
PUT    /_fake/users/{login}?public=&secret=  add or replace a user
PUT    /_fake/next/{login}                script the next responses: a JSON array of responses
PUT    /_fake/always/{login}              script all further responses: one JSON response
DELETE /_fake/always/{login}              respond as GitHub does again
GET    /_fake/cases                       cases of GitHub's behaviour, by name
PUT    /_fake/cases/{case}/{login}        play a case to the requests for a user
PUT    /_fake/app?life=                   know a GitHub App whose tokens live this many seconds; the answer has its settings
PUT    /_fake/rate-limit?requests=        the number of requests allowed from now on

A response: {\"status\":503,\"headers\":[[\"retry-after\",\"2\"]],\"body\":\"…\",\"delay_ms\":100,\"delivery\":\"chunked\"}
Without a status, GitHub's own response is sent with that delay and delivery. Deliveries: \"sized\" \"chunked\" {\"drip\":{\"bytes\":1,\"every_ms\":10}}
{\"claim\":9999} {\"cut\":10} {\"reset\":10} {\"filler\":100000000} \"endless\" {\"raw\":\"garbage\"} \"close\" \"silence\"
";

/// Carries out a control request.
pub(super) fn respond(state: &State, request: &FakeRequest) -> ScriptedResponse {
    let parts: Vec<_> =
        request.path.trim_start_matches("/_fake").split('/').filter(|part| !part.is_empty()).collect();
    let done = || json_response(200, &json!({ "done": true }));
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", []) => {
            ScriptedResponse::status(200).body(HELP).header("content-type", "text/plain; charset=utf-8")
        }
        ("GET", ["calls"]) => {
            let journal = &state.journal;
            json_response(
                200,
                &json!({ "total": journal.total(), "peak": journal.peak(), "calls": journal.calls() }),
            )
        }
        ("DELETE", ["calls"]) => {
            state.journal.clear();
            done()
        }
        ("GET", ["users"]) => json_response(200, &users(state)),
        ("PUT", ["users", login]) => {
            let (public, secret) =
                (request.number("public").unwrap_or(0), request.number("secret").unwrap_or(0));
            lock(&state.users).add(User::generate(&unescape(login), public, secret));
            done()
        }
        ("PUT", ["next", login]) => match serde_json::from_slice::<Vec<ScriptedResponse>>(&request.body) {
            Ok(answers) => {
                state.script(&unescape(login), |script| script.next.extend(answers));
                done()
            }
            Err(error) => refuse(&error),
        },
        ("PUT", ["always", login]) => match serde_json::from_slice::<ScriptedResponse>(&request.body) {
            Ok(answer) => {
                state.script(&unescape(login), |script| script.then = Some(answer));
                done()
            }
            Err(error) => refuse(&error),
        },
        ("DELETE", ["always", login]) => {
            lock(&state.scripts).remove(&unescape(login).to_lowercase());
            done()
        }
        ("GET", ["cases"]) => json_response(200, &cases()),
        ("PUT", ["cases", name, login]) => play(state, name, &unescape(login)),
        ("PUT", ["app"]) => match request.number("life") {
            Some(life) => install_app(state, life as u64),
            None => json_response(400, &json!({ "error": "say ?life=SECONDS" })),
        },
        ("PUT", ["rate-limit"]) => match request.number("requests") {
            Some(requests) => {
                state.rate_limit.store(requests as u64, Ordering::Relaxed);
                state.used.store(0, Ordering::Relaxed);
                done()
            }
            None => json_response(400, &json!({ "error": "say ?requests=N" })),
        },
        _ => json_response(404, &json!({ "error": "no such control; see GET /_fake" })),
    }
}

/// Plays the case called `name` to the requests for `login`.
fn play(state: &State, name: &str, login: &str) -> ScriptedResponse {
    match Case::named(name) {
        Some(case) if case.is_for_app() && login != APP => json_response(
            400,
            &json!({ "error": format!("case '{name}' is for '{APP}', not for '{login}'") }),
        ),
        Some(case) => {
            state.script(login, |script| *script = case.script());
            json_response(200, &json!({ "done": true }))
        }
        None => json_response(404, &json!({ "error": format!("no case '{name}'; see GET /_fake/cases") })),
    }
}

/// Makes an app with a new key. Answers with the settings of the service, with line breaks as a variable can hold them.
fn install_app(state: &State, life: u64) -> ScriptedResponse {
    let key = match AppKey::make() {
        Ok(key) => key,
        Err(error) => {
            return json_response(500, &json!({ "error": format!("openssl makes no key: {error}") }));
        }
    };
    let private_key = key.pkcs1.trim().replace('\n', "\\n");
    *lock(&state.app) = Some(App::new(key, Duration::from_secs(life)));
    let settings = json!({
        "github_app_id": App::ID,
        "github_app_installation_id": App::INSTALLATION,
        "github_app_private_key": private_key,
    });
    json_response(200, &settings)
}

fn cases() -> Value {
    Case::ALL.iter().map(|case| json!({ "name": case.name, "text": case.text })).collect()
}

fn refuse(error: &serde_json::Error) -> ScriptedResponse {
    json_response(400, &json!({ "error": error.to_string() }))
}

fn users(state: &State) -> Value {
    let users = lock(&state.users).all();
    let rows = users.iter().map(|user| {
        let public = user.gists.iter().filter(|gist| gist.public).count();
        json!({ "login": user.login, "id": user.id, "public": public, "secret": user.gists.len() - public })
    });
    rows.collect()
}
