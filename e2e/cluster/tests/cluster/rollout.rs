//! Rolling updates under constant load through the gateway: no request fails.

use std::time::{Duration, Instant};

use cluster_e2e::{
    Access, Cluster, Deployment, Fake, Gateway, LONG, Load, Namespace, Tally, await_route, eventually_within,
    figure,
};
use testkit::http::Request;

const PER_SECOND: f64 = 40.0;
const HOST: &str = "rollout.gists.test";

#[test]
fn an_update_a_scaling_and_a_deletion_fail_no_request() {
    let _access = Access::exclusive();
    let fake = Fake::get();
    let namespace = Namespace::new("rollout");
    Cluster::get().dev().at_host(HOST).upstream(&fake.url()).replicas(3).apply(&namespace);
    let api = Deployment::api(&namespace);
    let _ = api.ready();
    let client = Gateway::get().http(HOST);
    let login = fake.user(30);
    let hit = format!("/{login}");
    await_route(&client, &Request::get(&hit));
    let requests =
        [Request::get(&hit), Request::get("/health"), Request::get(&format!("{hit}?use_cache=false"))];
    let under_load = |what: &str, change: &dyn Fn()| {
        let (load, started) = (Load::start(&client, 8, PER_SECOND, &requests), Instant::now());
        change();
        // The removal of the old pods must not fail a request either.
        std::thread::sleep(Duration::from_secs(2));
        let tally = load.stop();
        println!("{what}: {} in {:.0?}", tally.summary(), started.elapsed());
        figure("rollout", &format!("{what}_requests"), tally.sent);
        figure("rollout", &format!("{what}_failed"), tally.failed());
        none_failed(what, &tally);
    };

    let before: Vec<_> = api.ready_pods().iter().map(|pod| pod.uid().to_owned()).collect();
    under_load("update", &|| {
        api.restart();
        let after = api.ready();
        assert!(after.iter().all(|pod| !before.iter().any(|old| old == pod.uid())), "an old pod is left");
        gone(&api, 3);
    });
    under_load("scale_up", &|| {
        api.scale(5);
        assert_eq!(api.ready().len(), 5);
    });
    under_load("scale_down", &|| {
        api.scale(3);
        let _ = api.ready();
        gone(&api, 3);
    });
    under_load("deletion", &|| {
        let pod = api.ready_pods().swap_remove(0).name;
        namespace.kubectl(["delete", "pod", &pod, "--wait=false"]).must();
        let _ = api.ready();
        gone(&api, 3);
    });
}

fn none_failed(what: &str, tally: &Tally) {
    assert!(tally.sent > 100, "{what}: too little load to tell: {}", tally.summary());
    assert_eq!(tally.failed(), 0, "{what}: {}\n{}", tally.summary(), tally.reasons.join("\n"));
    assert_eq!(tally.status(200), tally.sent, "{what}: {}", tally.summary());
}

/// Waits until this number of pods is left, including those that are being deleted.
fn gone(api: &Deployment<'_>, left: usize) {
    eventually_within(LONG, "the old pods are gone", || {
        let all = api.pods().len();
        if all == left { Ok(()) } else { Err(format!("{all} pods")) }
    });
}
