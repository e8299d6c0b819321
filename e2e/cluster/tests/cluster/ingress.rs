//! Istio's ingress gateway: host names, TLS, routes, and failures of a pod or of GitHub.

use std::time::{Duration, Instant};

use cluster_e2e::{
    Access, Cluster, Delivery, Deployment, Fake, Gateway, LONG, Namespace, ScriptedResponse, burst,
    eventually, eventually_within, figure, kubectl, milliseconds, pods,
};
use testkit::http::Request;

use crate::support::{FaultPod, Site, hosts, tls_secret};

#[test]
fn every_route_answers_by_host_name_and_tls() {
    let _access = Access::shared();
    let site = Site::new("routes", 1, &["istio-admin-open"], |all| all);
    let user = Fake::get().user(3);
    for target in ["/", "/health"] {
        assert_eq!(site.get(target).is(200).json()["status"], "healthy", "{target}");
    }
    assert_eq!(site.get("/ready").is(200).json()["status"], "ready");
    let gists = site.get(&format!("/{user}?per_page=2")).is(200);
    assert_eq!(gists.header("content-type"), Some("application/json"));
    assert_eq!(gists.json()["data"].as_array().unwrap().len(), 2);
    assert!(gists.header("link").unwrap().contains("rel=\"next\""), "{gists:?}");
    let again = site.get(&format!("/users/{user}/gists?per_page=2")).is(200);
    assert_eq!(again.json()["cache"]["hit"], true);
    assert_eq!(again.header("etag"), gists.header("etag"));
    let etag = gists.header("etag").unwrap();
    let known = site.send(&Request::get(&format!("/{user}?per_page=2")).header("if-none-match", etag));
    assert_eq!(known.is(304).body, b"");
    assert!(site.get("/cache/stats").is(200).json()["hits"].as_u64().unwrap() >= 1);
    assert_eq!(site.get("/openapi.json").is(200).json()["openapi"].as_str().unwrap().get(..2), Some("3."));
    assert!(site.get("/docs").is(200).header("content-type").unwrap().starts_with("text/html"));
    assert!(site.get("/metrics").is(200).text().contains("http_requests_total"));
    let cleared = site.send(&Request::new("DELETE", "/cache")).is(200);
    assert_eq!(cleared.json()["message"], "Cache cleared successfully");
    assert_eq!(site.get("/cache/stats").is(200).json()["size"], 0);
    // Errors come from the service, not from the gateway.
    assert_eq!(site.get("/no-such-user").is(404).json()["detail"], "User 'no-such-user' not found");
    assert_eq!(site.get("/a/b/c").is(404).json()["detail"], "Not Found");
    assert_eq!(
        site.get(&format!("/{user}?page=0")).is(422).json()["detail"][0]["type"],
        "greater_than_equal"
    );
    assert_eq!(site.get("/health/").is(307).header("location"), Some("/health"));
    let refused = site.send(&Request::new("POST", &format!("/{user}"))).is(405);
    assert!(refused.header("allow").unwrap().contains("GET"), "{refused:?}");
    let head = site.send(&Request::new("HEAD", "/health")).is(200);
    assert_eq!(head.body, b"");
    // The second host name works. An unknown host name has neither a certificate nor a route.
    let other = site.https_as(&format!("www.{}", site.host));
    assert_eq!(other.get("/health").status, 200);
    assert!(site.https_as("nobody.gists.local").connect().is_err());
    let stranger = Request::get("/health").header("host", "nobody.gists.local");
    assert_eq!(site.send(&stranger).status, 404);
}

#[test]
fn the_overlay_dev_answers_at_its_own_names() {
    let _access = Access::shared();
    let namespace = Namespace::new("dev");
    let dev = Cluster::get().dev().upstream(&Fake::get().url()).replicas(1);
    dev.component("k8s/components/quick-start").apply(&namespace);
    let pods: Vec<_> = Deployment::api(&namespace).ready().into_iter().map(|pod| pod.name).collect();
    for host in ["gists.local", "gists.kishore.local"] {
        // The certificate is gists-tls-secret, from the setup of the cluster.
        let client = Gateway::get().https(host);
        eventually_within(LONG, &format!("{host} leads to this namespace"), || {
            let answer = client.send(&Request::get("/ready?verbose")).map_err(|error| error.to_string())?;
            // At first the gateway may know no pod of the route, and the namespace of an earlier test may still have the host name.
            let pod = answer.try_json()?["pod"].as_str().unwrap_or_default().to_owned();
            pods.contains(&pod)
                .then_some(())
                .ok_or_else(|| format!("pod {pod} answers, of another namespace"))
        });
        assert!(client.get("/metrics").is(200).text().contains("http_requests_total"));
        let _ = client.send(&Request::new("DELETE", "/cache")).unwrap().is(200);
        let moved = Gateway::get().http(host).get("/octocat").is(301);
        assert_eq!(moved.header("location"), Some(format!("https://{host}/octocat").as_str()));
    }
}

#[test]
fn plain_http_is_sent_to_https() {
    let _access = Access::shared();
    let site = Site::new("redirect", 1, &[], |all| all);
    for (method, target) in
        [("GET", "/octocat?page=2&per_page=5"), ("POST", "/octocat"), ("DELETE", "/cache")]
    {
        let moved = site.http().send(&Request::new(method, target)).unwrap().is(301);
        assert_eq!(moved.header("location"), Some(format!("https://{}{target}", site.host).as_str()));
    }
}

#[test]
fn a_pod_that_refuses_connections_costs_nobody_an_answer_and_is_ejected() {
    let _access = Access::shared();
    let site = Site::new("ejection", 2, &[], |all| all);
    let bad = FaultPod::refusing(&site.namespace, "refusing");
    let address = bad.address();
    eventually("the gateway knows of the bad pod", || {
        hosts(site.namespace.name())?.contains_key(&address).then_some(()).ok_or_else(|| "not yet".to_owned())
    });
    let (mut asked, mut failed) = (0_u64, 0_u64);
    let seen = eventually("the bad pod is ejected", || {
        for _ in 0..20 {
            // Each request is retried at another pod, so none fails.
            let answer = site.get("/health");
            (asked, failed) = (asked + 1, failed + u64::from(answer.status != 200));
        }
        let hosts = hosts(site.namespace.name())?;
        hosts[&address].ejected.then(|| hosts.clone()).ok_or_else(|| format!("{hosts:?}"))
    });
    assert_eq!(failed, 0, "of {asked}");
    assert!(seen[&address].count("cx_connect_fail") >= 5, "{seen:?}");
    assert!(site.addresses().iter().all(|address| !seen[address].ejected), "{seen:?}");
    figure("ingress", "requests until a refusing pod was ejected, all answered", asked);
    // While the pod is ejected, requests that are not retried do not reach it either.
    eventually("a batch while the bad pod is out", || {
        let out = || hosts(site.namespace.name()).map(|hosts| hosts[&address].ejected);
        let before = out()?;
        let answers: Vec<_> = (0..20).map(|_| site.send(&Request::new("POST", "/octocat")).status).collect();
        if before && out()? {
            // Envoy's threads learn of such changes at most once a second.
            return if answers == [405; 20] { Ok(()) } else { Err(format!("met all the same: {answers:?}")) };
        }
        // After the ejection time, the pod is back. Reads eject it again, and none fails.
        (0..20).for_each(|_| assert_eq!(site.get("/health").status, 200));
        Err("it came back meanwhile".to_owned())
    });
}

/// A node that is lost takes pods with it that the gateway still knows. A try at such a pod costs the time to connect, and no answer.
#[test]
fn a_pod_that_cannot_be_reached_costs_a_try_of_three_seconds() {
    /// The time to connect is 3 s. A second more is for a busy machine; the next try may meet the same pod only after an ejection.
    const MOST: Duration = Duration::from_secs(4);
    let _access = Access::exclusive();
    for components in [&[][..], &["istio-circuit-breaker"]] {
        let name = components.first().unwrap_or(&"base");
        let site = Site::new(&format!("lost-{name}"), 2, components, |all| all);
        let lost = FaultPod::unreachable(&site.namespace, "lost");
        let address = lost.address();
        eventually("the gateway knows of the lost pod", || {
            let known = hosts(site.namespace.name())?.contains_key(&address);
            known.then_some(()).ok_or_else(|| "not yet".to_owned())
        });
        let mut longest = Duration::ZERO;
        eventually("a request meets the lost pod", || {
            let started = Instant::now();
            let _ = site.get("/health").is(200);
            longest = longest.max(started.elapsed());
            let failed = hosts(site.namespace.name())?[&address].count("cx_connect_fail");
            (failed > 0).then_some(()).ok_or_else(|| "not yet".to_owned())
        });
        assert!(longest < MOST, "{name}: {longest:?}");
        figure(
            "ingress",
            &format!("milliseconds of a request that meets a lost pod, {name}"),
            milliseconds(longest),
        );
    }
}

#[test]
fn what_a_pod_began_is_not_asked_again() {
    let _access = Access::shared();
    // The faulty pod is the only one.
    let site = Site::new("faults", 0, &[], |all| all);
    let fault = FaultPod::answering(&site.namespace, "faulty");
    let path = |login: &str| format!("/users/{login}/gists");
    site.answers(&Request::get(&path("octocat")));
    // The service's own errors are passed on: GitHub causes them, and a retry would multiply requests to GitHub. They eject no pod.
    for status in [500, 502, 503, 504] {
        let login = format!("s{status}");
        fault.always(&login, &ScriptedResponse::status(status));
        for asked in 1..=8 {
            let _ = site.get(&path(&login)).is(status);
            assert_eq!(fault.calls(&login).len(), asked);
        }
    }
    // A connection that breaks after the request was sent.
    fault.always("breaks", &ScriptedResponse { delivery: Delivery::Close, ..ScriptedResponse::genuine() });
    let _ = site.get(&path("breaks")).is(503);
    assert_eq!(fault.calls("breaks").len(), 1);
    let seen = hosts(site.namespace.name()).unwrap();
    assert!(seen.values().all(|host| !host.ejected), "{seen:?}");
    // One that hangs: a try has 12 s, and there is but one; what is not retried has the 30 s of them all.
    fault.always("hangs", &ScriptedResponse { delivery: Delivery::Silence, ..ScriptedResponse::genuine() });
    std::thread::scope(|scope| {
        for (method, least, most) in [("GET", 6, 24), ("POST", 24, 44)] {
            let (site, request) = (&site, Request::new(method, &path("hangs")));
            scope.spawn(move || {
                let started = Instant::now();
                let answer = site.send(&request).is(504);
                let took = started.elapsed().as_secs();
                assert!(answer.text().contains("timeout"), "{answer:?}");
                assert!((least..most).contains(&took), "{method}: {took} s");
                figure("ingress", &format!("seconds until 504 where a pod hangs, {method}"), took);
            });
        }
    });
    assert_eq!(fault.calls("hangs").len(), 2);
}

#[test]
fn more_than_the_pool_holds_is_refused_at_once() {
    /// As many connections, and as many requests that wait for one: as the DestinationRule says.
    const HALF: usize = 100;
    const BEYOND: usize = 60;
    let _access = Access::exclusive();
    let site = Site::new("pool", 0, &[], |all| all);
    let fault = FaultPod::answering(&site.namespace, "slow");
    site.answers(&Request::get("/users/octocat/gists"));
    fault.always("slow", &ScriptedResponse { delay_ms: 8_000, ..ScriptedResponse::status(200) });
    let gateways = pods("istio-system", "istio=ingressgateway").unwrap();
    let all = 2 * HALF * gateways.iter().filter(|pod| pod.ready()).count() + BEYOND;
    let answers = burst(&site.https(), all, &Request::get("/users/slow/gists"));
    let (served, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    // A request waits while its connection is made, so that of a burst between one half and both are taken in.
    assert!(served.len() >= HALF, "{} served", served.len());
    assert!(!refused.is_empty(), "{} served", served.len());
    for answer in &refused {
        assert_eq!((answer.status, answer.header("x-envoy-overloaded")), (503, Some("true")), "{answer:?}");
    }
    // None of those reached a pod.
    assert_eq!(fault.calls("slow").len(), served.len());
    figure("ingress", &format!("of {all} at once, refused by a full pool"), refused.len());
}

#[test]
fn a_github_outage_ejects_nobody_and_is_not_multiplied() {
    const USERS: usize = 16;
    let _access = Access::shared();
    let site = Site::new("outage", 2, &[], |all| all);
    let fake = Fake::get();
    let users: Vec<_> = (0..USERS).map(|_| fake.user(1)).collect();
    for user in &users {
        fake.always(user, &ScriptedResponse::status(503));
    }
    for user in &users {
        assert_eq!(site.get(&format!("/{user}")).is(502).json()["detail"], "GitHub error: 503");
    }
    for user in &users {
        assert_eq!(fake.calls(user).len(), 1, "{user}");
    }
    // Sixteen errors on two pods: one of them has answered at least eight in a row, where five failures of Envoy's own would do.
    let seen = hosts(site.namespace.name()).unwrap();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen.values().map(|host| host.count("rq_error")).sum::<u64>() >= USERS as u64, "{seen:?}");
    assert!(seen.values().all(|host| !host.ejected), "{seen:?}");
    // And all is well as soon as GitHub is.
    for user in &users {
        fake.restore(user);
    }
    eventually("GitHub's answers arrive again", || {
        let bad: Vec<_> =
            users.iter().map(|user| site.get(&format!("/{user}")).status).filter(|one| *one != 200).collect();
        if bad.is_empty() { Ok(()) } else { Err(format!("{bad:?}")) }
    });
}

#[test]
fn the_certificate_script_makes_one_and_leaves_a_good_one_alone() {
    let _access = Access::shared();
    // In a namespace of its own, which the script makes.
    let namespace = Cluster::namespace("certificate");
    let run = |more: &[&str]| {
        let place = ["--namespace", &namespace, "--name", "tls"];
        tls_secret(&place.iter().chain(more).copied().collect::<Vec<_>>())
    };
    let version = || {
        kubectl(["-n", &namespace, "get", "secret", "tls", "-o", "jsonpath={.metadata.resourceVersion}"])
            .must()
    };
    assert!(run(&["--host", "a.local"]).contains("made"));
    let first = version();
    assert!(run(&["--host", "a.local"]).contains("is good until"));
    assert_eq!(version(), first);
    // Other names, and a wish, make another.
    assert!(run(&["--host", "a.local", "--host", "b.local"]).contains("made"));
    let second = version();
    assert_ne!(second, first);
    assert!(run(&["--host", "b.local", "--host", "a.local", "--renew"]).contains("made"));
    assert_ne!(version(), second);
    // Without names it is about those that are there.
    assert!(run(&["--renew"]).contains(" for a.local b.local,"));
    assert!(run(&[]).contains("is good until"));
    // Applied by kubectl the usual way, the key would stand in an annotation too.
    let object = kubectl(["-n", &namespace, "get", "secret", "tls"]).json().unwrap();
    assert!(object["metadata"].get("annotations").is_none(), "{:?}", object["metadata"]);
    assert!(run(&["--show"]).starts_with("-----BEGIN CERTIFICATE-----"));
    kubectl(["delete", "namespace", &namespace, "--wait=false"]).must();
}
