//! The list of gists, byte for byte, and the parts of GitHub's response that it contains.

use e2e::fake::ScriptedResponse;
use e2e::{Instances, Service};
use serde_json::json;

use super::expect::Expect as _;

suite!(
    the_body_is_exactly_this,
    whatever_is_not_public_is_dropped,
    secret_gists_do_not_show_with_a_token,
    odd_items_are_survived,
    a_name_in_any_case_is_one_entry,
    hundreds_of_kilobytes_pass,
);

/// Two gists as GitHub lists them, with members that the service leaves out.
const GITHUBS: &str = r#"[{"url":"https://api.github.com/gists/aa5a315d61ae9438b18d","id":"aa5a315d61ae9438b18d","node_id":"x","html_url":"https://gist.github.com/aa5a315d61ae9438b18d",
"files":{"z_last.rb":{"filename":"z_last.rb","type":"application/x-ruby","language":"Ruby","raw_url":"https://gist.githubusercontent.com/octocat/aa5a/raw/db9c/z_last.rb","size":167,"extra":1},
"a_first":{"filename":"a_first","type":"text/plain","language":null,"raw_url":"https://gist.githubusercontent.com/octocat/aa5a/raw/db9c/a%20first","size":0}},
"public":true,"created_at":"2010-04-14T02:15:15Z","updated_at":"2011-06-20T11:34:15Z","description":"Hello \"World\" \u00e9\ud83e\udd80\n","comments":0,"owner":{"login":"octocat"},"truncated":false},
{"id":"b","html_url":"https://gist.github.com/b","files":{},"public":true,"created_at":"2010-04-14T02:15:15Z","description":null}]"#;

const OURS: &str = concat!(
    r#"{"data":[{"id":"aa5a315d61ae9438b18d","description":"Hello \"World\" é🦀\n","url":"https://gist.github.com/aa5a315d61ae9438b18d","created_at":"2010-04-14T02:15:15Z","#,
    r#""files":{"z_last.rb":{"filename":"z_last.rb","type":"application/x-ruby","language":"Ruby","raw_url":"https://gist.githubusercontent.com/octocat/aa5a/raw/db9c/z_last.rb","size":167},"#,
    r#""a_first":{"filename":"a_first","type":"text/plain","language":null,"raw_url":"https://gist.githubusercontent.com/octocat/aa5a/raw/db9c/a%20first","size":0}}},"#,
    r#"{"id":"b","description":null,"url":"https://gist.github.com/b","created_at":"2010-04-14T02:15:15Z","files":{}}],"#,
    r#""pagination":{"page":1,"per_page":30,"count":2,"has_next":false,"has_prev":false},"cache":{"hit":HIT,"ttl_seconds":300}}"#
);

async fn the_body_is_exactly_this(instances: Instances) {
    let service = Service::start(instances).await;
    service.github.always("octocat", ScriptedResponse::json(GITHUBS));
    let miss = service.host.get("/octocat").await.is(200);
    assert_eq!(miss.text(), OURS.replace("HIT", "false"));
    assert_eq!(miss.header("content-type"), Some("application/json"));
    let hit = service.host.get("/octocat").await.is(200);
    assert_eq!(hit.text(), OURS.replace("HIT", "true"));
    assert_eq!(hit.header("content-length"), Some(hit.body.len().to_string().as_str()));
    assert_eq!(hit.header("etag"), miss.header("etag"), "the entity tag covers data and pagination only");

    let empty = service.host.get("/quiet").await.is(200);
    assert_eq!(
        empty.text(),
        r#"{"data":[],"pagination":{"page":1,"per_page":30,"count":0,"has_next":false,"has_prev":false},"cache":{"hit":false,"ttl_seconds":300}}"#
    );
}

async fn whatever_is_not_public_is_dropped(instances: Instances) {
    let service = Service::start(instances).await;
    let gist = |id: &str, public: serde_json::Value| {
        let mut gist = json!({"id": id, "html_url": "u", "files": {}, "created_at": "2020-01-01T00:00:00Z", "description": "secret-marker", "public": public});
        if public.is_null() && id == "absent" {
            gist.as_object_mut().unwrap().remove("public");
        }
        gist
    };
    let items = json!([
        gist("yes", json!(true)),
        gist("no", json!(false)),
        gist("null", json!(null)),
        gist("absent", json!(null)),
        gist("text", json!("true")),
        gist("one", json!(1))
    ]);
    service.github.always("octocat", ScriptedResponse::json(items.to_string()));
    let reply = service.host.get("/octocat").await;
    // An item of another shape may make the response invalid. It must not be in the list.
    if reply.status == 200 {
        assert_eq!(reply.ids(), ["yes"]);
        assert_eq!(reply.json()["pagination"]["count"], 1);
    } else {
        reply.is_error(502, "GitHub sent an invalid response");
    }
}

async fn secret_gists_do_not_show_with_a_token(instances: Instances) {
    let service =
        Service::with(instances, |options| options.setting("github_token", "ghp_example_token")).await;
    service.github.add_user("owner", 5, 4);
    for path in ["/owner", "/owner", "/owner?per_page=3", "/owner?use_cache=false"] {
        let reply = service.host.get(path).await.is(200);
        assert!(reply.ids().len() <= 5, "{}", reply.text());
        assert!(!reply.text().contains("ghp_example_token"));
    }
    assert_eq!(service.host.get("/owner").await.ids().len(), 5);
    let asked = service.github.journal().calls_for("owner");
    assert!(asked.iter().all(|call| call.header("authorization") == Some("Bearer ghp_example_token")));
    assert!(!service.host.log().contains("ghp_example_token"), "the log contains the token");
    assert!(!service.host.get("/metrics").await.text().contains("ghp_example_token"));
    assert!(!service.host.admin("/metrics").await.text().contains("ghp_example_token"));
}

async fn odd_items_are_survived(instances: Instances) {
    let service = Service::start(instances).await;
    let bodies = [
        "[null]",
        "[1]",
        "[[]]",
        "[{}]",
        r#"[{"public":true}]"#,
        r#"[{"public":true,"id":1,"files":[]}]"#,
        r#"[{"public":true,"id":"x","files":{"a":null}}]"#,
        r#"[{"public":true,"id":"x","html_url":null,"files":null,"created_at":null,"description":5}]"#,
        r#"[{"public":true,"public":false,"id":"x"}]"#,
        r#"[{"public":true,"id":"\ud800","files":{}}]"#,
        "[[[[[[[[[[[[[[[[",
        "{}",
        "null",
        "\"x\"",
        "0",
        "[",
        "[]x",
        "[1e999]",
        "[-]",
        "\u{feff}[]",
    ];
    for (index, body) in bodies.iter().enumerate() {
        let name = format!("odd-{index}");
        service.github.always(&name, ScriptedResponse::json(*body));
        let reply = service.host.get(&format!("/{name}")).await;
        assert!(matches!(reply.status, 200 | 502), "{body}: {}", reply.status);
        if reply.status == 502 {
            reply.is_error(502, "GitHub sent an invalid response");
        } else {
            assert!(reply.json()["data"].is_array());
        }
    }
    for body in ["{}", "null", "[", "[]x", "\"x\"", ""] {
        service.github.always("octocat", ScriptedResponse::json(body));
        service.host.get("/octocat?use_cache=false").await.is_error(502, "GitHub sent an invalid response");
        // The failure is cached for a second at most. Clearing the cache forgets it at once.
        service.host.request("DELETE", "/cache").send().await.is(200);
    }
    let deep = "[".repeat(200_000);
    service.github.always("deep", ScriptedResponse::json(deep));
    service.host.get("/deep").await.is_error(502, "GitHub sent an invalid response");
}

async fn a_name_in_any_case_is_one_entry(instances: Instances) {
    let service = Service::start(instances).await;
    let first = service.host.get("/OctoCat").await.is(200);
    assert!(!first.hit());
    for path in ["/octocat", "/OCTOCAT", "/users/oCTOcat/gists", "/%6Fctocat"] {
        let reply = service.host.get(path).await.is(200);
        assert!(reply.hit(), "{path}");
        assert_eq!(reply.ids(), first.ids());
    }
    assert_eq!(service.github.journal().total(), 1);
    service.host.get("/NoBody").await.is_error(404, "User 'NoBody' not found");
    service.host.get("/nobody").await.is_error(404, "User 'nobody' not found");
    assert_eq!(
        service.github.journal().total(),
        2,
        "a cached 404 is one entry, and its body has the name as requested"
    );
}

async fn hundreds_of_kilobytes_pass(instances: Instances) {
    let service = Service::start(instances).await;
    let items: Vec<_> = (0..100)
        .map(|n| json!({"id": format!("id{n}"), "html_url": "u", "files": {}, "created_at": "2020-01-01T00:00:00Z", "description": "d".repeat(50_000), "public": true}))
        .collect();
    service.github.always("big", ScriptedResponse::json(json!(items).to_string()));
    for _ in 0..3 {
        let reply = service.host.get("/big?per_page=100").await.is(200);
        assert_eq!(reply.ids().len(), 100);
        assert!(reply.body.len() > 5_000_000);
    }
}
