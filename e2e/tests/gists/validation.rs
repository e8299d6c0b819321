//! Validation of parameters: FastAPI's responses to the same requests, byte for byte (`golden/validation.py`).

use e2e::{Instances, Service};
use serde_json::Value;

use super::expect::Expect as _;
use super::golden;

suite!(
    parameters_are_judged_as_fastapi_judges_them,
    the_alias_route_judges_alike,
    names_that_cannot_exist_are_answered_here,
    names_that_might_exist_are_asked_for,
    problem_details_when_preferred,
);

struct Case {
    path: String,
    status: u64,
    body: String,
}

fn cases() -> Vec<Case> {
    let cases: Vec<Value> = serde_json::from_str(&golden::read("validation.json")).unwrap();
    assert!(cases.len() > 250);
    let text = |case: &Value, member: &str| golden::expand(case[member].as_str().unwrap());
    cases
        .iter()
        .map(|case| Case {
            path: text(case, "path"),
            status: case["status"].as_u64().unwrap(),
            body: text(case, "body"),
        })
        .collect()
}

async fn parameters_are_judged_as_fastapi_judges_them(instances: Instances) {
    let service = Service::start(instances).await;
    let mut wrong = Vec::new();
    for case in cases() {
        let reply = service.host.get(&case.path).await;
        let right = if case.status == 422 {
            reply.status == 422
                && reply.text() == case.body
                && reply.header("content-type") == Some("application/json")
        } else {
            // FastAPI accepted the request: here, the response is a list with the same page and size, or a 404 of GitHub.
            let understood: Value = serde_json::from_str(&case.body).unwrap();
            reply.status == 404 && !case.path.starts_with("/octocat")
                || reply.status == 200
                    && reply.json()["pagination"]["page"] == understood["page"]
                    && reply.json()["pagination"]["per_page"] == understood["per_page"]
        };
        if !right {
            let short = |text: &str| text.chars().take(200).collect::<String>();
            wrong.push(format!(
                "{}\n  want {} {}\n  got  {} {}",
                short(&case.path),
                case.status,
                short(&case.body),
                reply.status,
                short(reply.text())
            ));
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

async fn the_alias_route_judges_alike(instances: Instances) {
    let service = Service::start(instances).await;
    for case in cases().iter().filter(|case| case.status == 422).step_by(7) {
        let (name, query) = case.path[1..].split_once('?').unwrap_or((&case.path[1..], ""));
        let reply = service.host.get(&format!("/users/{name}/gists?{query}")).await;
        assert_eq!((u64::from(reply.status), reply.text()), (422, case.body.as_str()));
    }
    assert_eq!(service.github.journal().total(), 0, "GitHub was asked for an invalid request");
}

async fn names_that_cannot_exist_are_answered_here(instances: Instances) {
    let service = Service::start(instances).await;
    for (path, name) in [
        ("/oct.cat", "oct.cat"),
        ("/octo%20cat", "octo cat"),
        ("/caf%C3%A9", "café"),
        ("/%3Cscript%3E", "<script>"),
        ("/%22quoted%22", "\"quoted\""),
        ("/a'b", "a'b"),
        ("/bot[bot]x", "bot[bot]x"),
        ("/%00", "\0"),
        ("/favicon.ico", "favicon.ico"),
        ("/robots.txt", "robots.txt"),
        ("/..%5C", "..\\"),
    ] {
        let reply = service.host.get(path).await;
        reply.is_error(404, &format!("User '{name}' not found"));
    }
    // Invalid UTF-8 and invalid escapes: a 404 with any body.
    for path in ["/%FF", "/%zz", "/%", "/%E2%82", "/a%2", "/%C0%AF"] {
        service.host.get(path).await.is(404);
    }
    assert_eq!(service.github.journal().total(), 0);
}

async fn names_that_might_exist_are_asked_for(instances: Instances) {
    let service = Service::start(instances).await;
    // The service does not check GitHub's rules for new names: legacy and enterprise-managed names break them.
    for (path, name) in [
        ("/-a-", "-a-"),
        ("/a--b", "a--b"),
        ("/under_score", "under_score"),
        ("/%61bc", "abc"),
        ("/dependabot%5Bbot%5D", "dependabot[bot]"),
        ("/a23456789012345678901234567890123456789", "a23456789012345678901234567890123456789"),
    ] {
        service.github.add_user(name, 1, 0);
        assert_eq!(service.host.get(path).await.is(200).ids().len(), 1, "{path}");
        assert_eq!(service.github.journal().calls_for(name).len(), 1, "{path}");
    }
    let asked = &service.github.journal().calls_for("dependabot[bot]")[0];
    assert_eq!(asked.path, "/users/dependabot%5Bbot%5D/gists");
}

async fn problem_details_when_preferred(instances: Instances) {
    let service = Service::start(instances).await;
    let problem = async |path: &str, accept: &str| {
        service.host.request("GET", path).header("accept", accept).send().await
    };
    for accept in [
        "application/problem+json",
        "application/json;q=0.5, application/problem+json",
        "application/problem+json, application/json",
        "application/json;q=0.8, application/problem+json;q=0.8",
    ] {
        let reply = problem("/nobody", accept).await.is(404);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{accept}");
        let body = reply.json();
        assert_eq!(body["status"], 404);
        assert_eq!(body["detail"], "User 'nobody' not found");
        assert!(body["type"].is_string() && body["title"].is_string(), "{body}");
    }
    for accept in [
        "*/*",
        "application/json",
        "text/html",
        "application/problem+json;q=0.1, application/json",
        "application/problem+json;q=0, */*",
        "application/problem+xml",
        "nonsense,,;q=",
    ] {
        let reply = problem("/nobody", accept).await.is(404);
        assert_eq!(reply.header("content-type"), Some("application/json"), "{accept}");
        assert_eq!(reply.text(), r#"{"detail":"User 'nobody' not found"}"#);
    }
    let reply = problem("/octocat?page=0&use_cache=x", "application/problem+json").await.is(422);
    let (body, plain) = (reply.json(), service.host.get("/octocat?page=0&use_cache=x").await.json());
    assert_eq!(body["errors"], plain["detail"]);
    assert!(body["detail"].is_string());
    assert_eq!(
        problem("/octocat", "application/problem+json").await.is(200).header("content-type"),
        Some("application/json")
    );
}
