//! `scripts/deploy` and `scripts/preview`, which the pipeline runs: a version that is not healthy is undone under load, and no request fails; a
//! preview answers at its host until it is removed.

use std::fs;
use std::process::Command;

use cluster_e2e::{
    Access, Cluster, Deployment, Fake, Gateway, Kustomization, LONG, Load, Namespace, Tally, await_route,
    eventually_within, image, kubectl, output,
};
use testkit::http::Request;
use testkit::http::blocking::Client;
use testkit::paths;
use testkit::tls::Trust;

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
    let _access = Access::exclusive();
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

/// The number of the preview. The namespace's name is the script's, so that it has no prefix of the run.
const NUMBER: &str = "900000001";
const PREVIEW: &str = "preview-900000001";
const PREVIEWS: &str = "preview.gists.test";
const CERTIFICATE: &str = "gists-preview-tls-secret";

/// Runs a script. Returns the exit code, and what was written to both outputs.
fn script(name: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let output =
        Command::new(paths::workspace().join("scripts").join(name)).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// Removes what the script has made, also after a failure.
struct Preview;

impl Drop for Preview {
    fn drop(&mut self) {
        let _ = kubectl(["delete", "namespace", PREVIEW, "--wait=false", "--ignore-not-found"]).run();
        let _ = kubectl(["-n", "istio-system", "delete", "secret", CERTIFICATE, "--ignore-not-found"]).run();
    }
}

#[test]
fn a_preview_answers_at_its_host_until_it_is_removed() {
    let _access = Access::shared();
    if Cluster::get().plain() {
        println!("NOT RUN: the preview's overlay needs the runtime class");
        return;
    }
    let _preview = Preview;
    let any = format!("*.{PREVIEWS}");
    let (code, said) = script("tls-secret", &["--host", &any, "--name", CERTIFICATE]);
    assert_eq!(code, Some(0), "{said}");
    let (_, certificate) = script("tls-secret", &["--show", "--name", CERTIFICATE]);

    let image = image("github-gists-api");
    let up = |number| {
        script("preview", &["up", number, "--image", &image, "--domain", PREVIEWS, "--timeout", "90"])
    };
    let (code, said) = up(NUMBER);
    assert_eq!(code, Some(0), "{said}");
    let host = format!("pr-{NUMBER}.{PREVIEWS}");
    assert!(said.contains(&format!("https://{host}, for 72 hours")), "{said}");
    let client = Client::https(Gateway::get().https, &host, Trust::pem(&certificate));
    await_route(&client, &Request::get("/health"));

    // The script changes nothing that it did not make.
    let other = Namespace::exactly("preview-900000002", &[]);
    let number = "900000002";
    for (code, said) in [up(number), script("preview", &["down", number])] {
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("the namespace preview-900000002 is no preview of 900000002"), "{said}");
    }
    // A preview whose time is over is removed, and no other one.
    let labels = ["preview.gists/number=900000002", "preview.gists/end=1"];
    kubectl(["label", "namespace", other.name()].into_iter().chain(labels)).must();
    let (code, said) = script("preview", &["expire"]);
    assert_eq!(code, Some(0), "{said}");
    let left = kubectl(["get", "namespaces", "-l", "preview.gists/number", "-o", "name"]).must();
    assert_eq!(left.trim(), format!("namespace/{PREVIEW}"), "{said}");
    let _ = client.send(&Request::get("/health")).unwrap().is(200);

    let (code, said) = script("preview", &["down", NUMBER]);
    assert_eq!(code, Some(0), "{said}");
    eventually_within(LONG, "the gateway does not know the host any more", || {
        match client.send(&Request::get("/health")) {
            Ok(response) if response.status == 200 => Err("200".to_owned()),
            _ => Ok(()),
        }
    });
    let (code, said) = script("preview", &["down", NUMBER]);
    assert_eq!((code, said.trim()), (Some(0), "==> there is no preview of 900000001"));
}
