//! `scripts/deploy`, which the pipeline runs: a version that is not healthy is undone under load, and no request fails.

use std::fs;
use std::process::Command;

use cluster_e2e::{
    Cluster, Deployment, Fake, Gateway, Kustomization, LONG, Load, Namespace, Tally, await_route,
    eventually_within, output,
};
use testkit::http::Request;
use testkit::paths;

const NAME: &str = "github-gists-api";
const HOST: &str = "deploy.gists.test";
const PER_SECOND: f64 = 40.0;

/// Runs the script on rendered manifests. Returns the exit code and what it said.
fn deploy(namespace: &Namespace, version: &Kustomization, options: &[&str]) -> (Option<i32>, String) {
    let file = output().join(format!("{}.yaml", namespace.name()));
    fs::write(&file, version.render(namespace.name(), Some(namespace.name()))).unwrap();
    let output = Command::new(paths::workspace().join("scripts/deploy"))
        .args([namespace.name(), "--manifests"])
        .arg(&file)
        .args(options)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn none_failed(what: &str, tally: &Tally) {
    assert!(tally.sent > 100, "{what}: too little load to tell: {}", tally.summary());
    assert_eq!(tally.status(200), tally.sent, "{what}: {}\n{}", tally.summary(), tally.reasons.join("\n"));
}

#[test]
fn a_version_that_is_not_healthy_is_undone_and_no_request_fails() {
    let fake = Fake::get();
    let namespace = Namespace::new("deploy");
    let good = Cluster::get().dev().at_host(HOST).upstream(&fake.url()).replicas(2).eager();
    let version = |name: &str, value: &str| good.clone().env(NAME, NAME, &[(name, value)]);
    let quick = ["--timeout", "90", "--watch", "3", "--smoke", "/health", "--smoke", "/openapi.json"];

    let (code, said) = deploy(&namespace, &good, &quick);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("revision none runs") && said.contains("deployed: revision 1"), "{said}");
    let api = Deployment::api(&namespace);
    let client = Gateway::get().http(HOST);
    let hit = Request::get(&format!("/{}", fake.user(30)));
    await_route(&client, &hit);

    let under_load = |what: &str, version: &Kustomization, options: &[&str]| {
        let load = Load::start(&client, 8, PER_SECOND, &[hit.clone(), Request::get("/health")]);
        let done = deploy(&namespace, version, options);
        // The removal of pods must not fail a request either.
        eventually_within(LONG, "two pods are left", || {
            let all = api.pods().len();
            if all == 2 { Ok(()) } else { Err(format!("{all} pods")) }
        });
        let tally = load.stop();
        println!("{what}: {}", tally.summary());
        none_failed(what, &tally);
        done
    };
    let setting = |name: &str| {
        let object = api.object().unwrap();
        let env = object["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap().clone();
        env.iter().find(|one| one["name"] == name).map(|one| one["value"].as_str().unwrap().to_owned())
    };

    // A setting that does not parse: the pods start, and are never ready.
    let never_ready = ["--timeout", "20", "--watch", "3"];
    let (code, said) = under_load("never_ready", &version("CACHE_TTL", "soon"), &never_ready);
    assert_eq!(code, Some(1), "{said}");
    for part in ["the rollout did not end within 20 s", "back to revision 1", "undone"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(setting("CACHE_TTL"), None);

    // A version that is ready, and fails the smoke test.
    let wrong = ["--timeout", "90", "--watch", "3", "--smoke", "/nobody/knows/this"];
    let (code, said) = under_load("fails_smoke_test", &version("CACHE_TTL", "299"), &wrong);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("/nobody/knows/this") && said.contains("checks in a row"), "{said}");
    assert_eq!(setting("CACHE_TTL"), None);

    // A good version goes through.
    let (code, said) = under_load("good", &version("CACHE_TTL", "298"), &quick);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(setting("CACHE_TTL").as_deref(), Some("298"));

    // What the cluster refuses changes nothing.
    let replicas = serde_json::json!([{ "op": "replace", "path": "/spec/replicas", "value": -1 }]);
    let refused = version("CACHE_TTL", "297").patch("Deployment", NAME, &replicas);
    let (code, said) = deploy(&namespace, &refused, &quick);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("nothing was changed"), "{said}");
    assert_eq!(setting("CACHE_TTL").as_deref(), Some("298"));
}
