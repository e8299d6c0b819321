//! The canary: two versions behind one host name, by weight and by header; promotion and rollback.

use std::collections::BTreeMap;

use cluster_e2e::{Access, Deployment, eventually, figure};
use serde_json::json;
use testkit::http::Request;

use crate::support::Site;

/// The number of responses of each version, by `/ready?verbose`.
fn versions(site: &Site, requests: usize, header: Option<(&str, &str)>) -> BTreeMap<String, usize> {
    let mut request = Request::get("/ready?verbose");
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    let mut connection = site.https().connect().unwrap();
    let mut versions = BTreeMap::new();
    for _ in 0..requests {
        // The gateway closes connections when the objects of another test change its filters.
        if connection.over() {
            connection = site.https().connect().unwrap();
        }
        let answer = connection.send(&request).unwrap().is(200).json();
        *versions.entry(answer["version"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    versions
}

#[test]
fn a_canary_gets_its_tenth_and_whoever_asks_for_it() {
    const REQUESTS: usize = 1_000;
    let _access = Access::shared();
    let site = Site::new("canary", 2, &["istio-canary"], |all| all);
    let _ = Deployment::new(&site.namespace, "github-gists-api-canary").ready();
    site.answers(&Request::get("/ready?verbose").header("x-canary", "true"));
    // With the header, each request goes to the canary.
    for header in [("x-canary", "true"), ("x-user-group", "beta")] {
        assert_eq!(
            versions(&site, 50, Some(header)).into_keys().collect::<Vec<_>>(),
            ["canary"],
            "{header:?}"
        );
    }
    let asked = site.send(&Request::new("POST", "/octocat").header("x-canary", "true"));
    assert_eq!(asked.status, 405);
    // Other values of the header have no effect. By weight: of a thousand requests, a hundred are expected, with a standard
    // deviation of 9.5. Six standard deviations are exceeded once in a thousand million runs.
    for header in [None, Some(("x-canary", "false")), Some(("x-user-group", "alpha"))] {
        let seen = versions(&site, REQUESTS, header);
        let canary = seen.get("canary").copied().unwrap_or_default();
        assert!((43..=157).contains(&canary), "{header:?}: {seen:?}");
        let asked = header.map_or("nothing".to_owned(), |(name, value)| format!("{name}: {value}"));
        figure("canary", &format!("of {REQUESTS} requests with {asked}"), canary);
    }
    // Promotion sets the weight to all, and rollback to none. The rule of the header stays.
    for (stable, canary) in [(0, 100), (100, 0)] {
        let weight = |rule: usize, place: usize, value: usize| {
            let path = format!("/spec/http/{rule}/route/{place}/weight");
            json!({ "op": "replace", "path": path, "value": value })
        };
        let patch =
            json!([weight(4, 0, stable), weight(4, 1, canary), weight(5, 0, stable), weight(5, 1, canary)]);
        site.namespace
            .kubectl(["patch", "virtualservice", "github-gists-api", "--type=json", "-p", &patch.to_string()])
            .must();
        eventually(&format!("the canary gets {canary} of 100"), || {
            let seen = versions(&site, 100, None);
            let got = seen.get("canary").copied().unwrap_or_default();
            (got == canary).then_some(()).ok_or_else(|| format!("{seen:?}"))
        });
        assert_eq!(
            versions(&site, 20, Some(("x-canary", "true"))).into_keys().collect::<Vec<_>>(),
            ["canary"]
        );
    }
}
