//! Pagination, and the links between pages.

use e2e::fake::ScriptedResponse;
use e2e::{Instances, Service};
use serde_json::json;
use testkit::http::Response;

use super::expect::Expect as _;

suite!(
    pages_join_up_without_gap_or_overlap,
    links_keep_route_query_and_case,
    nothing_lies_beyond_page_100,
    only_the_rels_of_githubs_links_count,
);

async fn pages_join_up_without_gap_or_overlap(instances: Instances) {
    let service = Service::start(instances).await;
    service.github.add_user("many", 23, 0);
    let all = service.host.get("/many?per_page=100").await.is(200).ids();
    assert_eq!(all.len(), 23);
    let mut joined = Vec::new();
    for page in 1..=4 {
        let reply = service.host.get(&format!("/many?page={page}&per_page=7")).await.is(200);
        let ids = reply.ids();
        let pagination = json!({"page": page, "per_page": 7, "count": ids.len(), "has_next": page < 4, "has_prev": page > 1});
        assert_eq!(reply.json()["pagination"], pagination);
        joined.extend(ids);
    }
    assert_eq!(joined, all);
    let beyond = service.host.get("/many?page=9&per_page=7").await.is(200);
    assert!(beyond.ids().is_empty());
    assert_eq!(beyond.json()["pagination"]["has_next"], false);
    let asked = service.github.journal().calls_for("many");
    assert_eq!(asked[1].query, "page=1&per_page=7");
}

/// The relations and targets of the `Link` header, sorted.
fn links(reply: &Response) -> Vec<(String, String)> {
    let Some(header) = reply.header("link") else { return Vec::new() };
    let mut links: Vec<_> = header
        .split(", ")
        .map(|link| {
            let (target, parameters) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
            let rel =
                parameters.trim_start_matches([';', ' ']).strip_prefix("rel=").unwrap().trim_matches('"');
            (rel.to_owned(), target.to_owned())
        })
        .collect();
    links.sort();
    links
}

async fn links_keep_route_query_and_case(instances: Instances) {
    let service = Service::start(instances).await;
    service.github.add_user("many", 23, 0);
    for route in ["/Many", "/users/maNY/gists"] {
        let middle =
            service.host.get(&format!("{route}?page=2&per_page=7&x=a%20b&use_cache=true")).await.is(200);
        let links = links(&middle);
        let rels: Vec<_> = links.iter().map(|(rel, _)| rel.as_str()).collect();
        assert_eq!(rels, ["first", "next", "prev"]);
        for (rel, target) in links {
            assert!(!target.contains("://") && !target.starts_with("//"), "{target}");
            assert!(
                target.contains("per_page=7")
                    && target.contains("x=a%20b")
                    && target.contains("use_cache=true"),
                "{target}"
            );
            let page = match rel.as_str() {
                "next" => "3",
                _ => "1",
            };
            let query = target.split_once('?').unwrap().1;
            let pages: Vec<_> = query.split('&').filter_map(|pair| pair.strip_prefix("page=")).collect();
            assert_eq!(pages, [page], "{rel}: {target}");
            let followed = if target.starts_with('/') {
                target.clone()
            } else {
                format!("{route}{}", &target[target.find('?').unwrap()..])
            };
            assert!(followed.starts_with(route), "the name is not as requested: {followed}");
            let there = service.host.get(&followed).await.is(200);
            assert_eq!(there.json()["pagination"]["page"].to_string(), page);
        }
    }
    let first = service.host.get("/many?per_page=7").await.is(200);
    assert_eq!(
        links(&first).iter().map(|(rel, _)| rel.as_str()).filter(|rel| *rel != "first").collect::<Vec<_>>(),
        ["next"]
    );
    let single = service.host.get("/octocat").await.is(200);
    assert!(links(&single).iter().all(|(rel, _)| rel == "first"), "{:?}", single.header("link"));
    let hit = service.host.get("/many?page=2&per_page=7").await.is(200);
    assert!(hit.hit());
    assert_eq!(links(&hit).len(), 3, "a hit has the links, too");
}

async fn nothing_lies_beyond_page_100(instances: Instances) {
    let service = Service::start(instances).await;
    service.github.add_user("hoarder", 150, 0);
    let last = service.host.get("/hoarder?page=100&per_page=1").await.is(200);
    assert_eq!(last.json()["pagination"]["has_next"], true, "GitHub has more");
    assert!(links(&last).iter().all(|(rel, _)| rel != "next"), "{:?}", last.header("link"));
    assert!(links(&last).iter().any(|(rel, target)| rel == "prev" && target.contains("page=99")));
    service.host.get("/hoarder?page=101&per_page=1").await.is(422);
}

async fn only_the_rels_of_githubs_links_count(instances: Instances) {
    let service = Service::start(instances).await;
    let cases = [
        (r#"<https://api.github.com/user/1/gists?page=9>; rel="next""#, true, false),
        (r#"<https://api.github.com/user/1/gists?page=1>; rel="prev", <x>; rel="first""#, false, true),
        (r"<x>; rel=next", true, false),
        (r#"<https://evil.example/?a=1,b=2;rel="prev">; rel="next"; title="rel=prev, x""#, true, false),
        (r#"<x>; title="a, b; rel=\"next\""; rel="prev""#, false, true),
        (r#"<x>; rel="last""#, false, false),
        (r#"<x>; rel="prev next""#, true, true),
        (r"<x; rel=next", false, false),
        (r#", ,<a>;;rel="NEXT""#, true, false),
        (r"nonsense", false, false),
    ];
    for (index, (link, next, prev)) in cases.into_iter().enumerate() {
        let name = format!("linked-{index}");
        service.github.always(&name, ScriptedResponse::json("[]").header("link", link));
        let reply = service.host.get(&format!("/{name}?page=2")).await.is(200);
        let pagination = &reply.json()["pagination"];
        assert_eq!(
            (pagination["has_next"] == true, pagination["has_prev"] == true),
            (next, prev),
            "{link}: {pagination}"
        );
        assert!(
            !reply.header("link").unwrap_or_default().contains("example"),
            "a target of GitHub's link is passed on"
        );
    }
}
