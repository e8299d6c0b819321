//! The OpenAPI document at `/openapi.json` and the page at `/docs`.

use e2e::{Instances, Service};
use serde_json::Value;

use super::golden;

suite!(
    the_description_names_every_route,
    the_description_is_what_it_was,
    the_page_needs_nothing_from_outside
);

async fn the_description_names_every_route(instances: Instances) {
    let service = Service::start(instances).await;
    let reply = service.host.get("/openapi.json").await.is(200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let api = reply.json();
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"));
    for path in
        ["/", "/health", "/ready", "/{username}", "/users/{username}/gists", "/cache/stats", "/metrics"]
    {
        assert!(api["paths"][path]["get"]["responses"]["200"].is_object(), "{path}");
    }
    assert!(api["paths"]["/cache"]["delete"]["responses"]["200"].is_object());
    let list = &api["paths"]["/{username}"]["get"];
    let mut parameters: Vec<_> = list["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|parameter| resolve(&api, parameter)["name"].as_str().unwrap())
        .collect();
    parameters.sort_unstable();
    assert!(
        ["page", "per_page", "use_cache", "username"].iter().all(|name| parameters.contains(name)),
        "{parameters:?}"
    );
    for status in ["404", "422", "429", "502", "504"] {
        assert!(list["responses"][status].is_object(), "{status}");
    }
    references(&api, &api);
}

fn resolve<'a>(api: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => api
            .pointer(reference.strip_prefix('#').unwrap())
            .unwrap_or_else(|| panic!("{reference} leads nowhere")),
        None => value,
    }
}

/// Resolves each `$ref` in `value`.
fn references(api: &Value, value: &Value) {
    resolve(api, value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| references(api, item)),
        Value::Object(members) => members.values().for_each(|member| references(api, member)),
        _ => {}
    }
}

async fn the_description_is_what_it_was(instances: Instances) {
    let service = Service::start(instances).await;
    let reply = service.host.get("/openapi.json").await.is(200);
    // The golden file has white space, so that people can read it and its changes.
    let api = reply.json();
    assert_eq!(reply.text(), api.to_string(), "white space between the tokens");
    golden::compare("openapi.json", &(serde_json::to_string_pretty(&api).unwrap() + "\n"));
}

async fn the_page_needs_nothing_from_outside(instances: Instances) {
    let service = Service::start(instances).await;
    let reply = service.host.get("/docs").await.is(200);
    assert!(reply.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    let page = reply.text();
    for outside in ["src=\"http", "href=\"http", "src=\"//", "href=\"//", "url(http", "@import", "cdn."] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("openapi.json"));
    let policy = reply.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && policy.contains("connect-src 'self'"), "{policy}");
    assert!(!policy.contains('*') && !policy.contains("unsafe-eval"), "{policy}");
    let inline = page.contains("<script>") || page.contains("<style>") || page.contains(" style=\"");
    assert!(
        !inline
            || policy.contains("'sha256-")
            || policy.contains("'nonce-")
            || policy.contains("'unsafe-inline'"),
        "the policy forbids the page itself: {policy}"
    );
    assert!(!policy.contains("script-src 'unsafe-inline'"), "{policy}");
}
