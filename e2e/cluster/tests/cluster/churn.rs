//! Pods that are made and deleted all the time. At the end, the node has as many shims as pods, and nothing of the deleted pods. A run
//! of CI takes about a minute; `make churn` takes longer.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cluster_e2e::{
    Access, Cluster, LONG, Namespace, Node, NodeState, Pod, PodWatch, eventually_within, fail, figure, image,
    kubectl, milliseconds, percentile, pods,
};
use serde_json::{Value, json};

/// The variable with the length of the run in seconds.
const LENGTH: &str = "CLUSTER_TEST_CHURN";
const DEFAULT_SECONDS: u64 = 40;
const MAX_SECONDS: u64 = 3600;
/// How many pods are made in a minute, if the machine can.
const PODS_A_MINUTE: usize = 200;
/// How many pods may exist at once. A machine that is too slow for the rate makes fewer pods, not more at once.
const MAX_PODS: usize = 40;
/// The time between two rounds of deleting and making.
const ROUND: Duration = Duration::from_secs(3);
/// The pods that stay.
const KEPT: usize = 3;
const KEEPER: &str = "kept";
const APP: &str = "churn";

fn length() -> Duration {
    let Ok(text) = std::env::var(LENGTH) else { return Duration::from_secs(DEFAULT_SECONDS) };
    match text.parse() {
        Ok(seconds @ 1..=MAX_SECONDS) => Duration::from_secs(seconds),
        _ => fail(format!("{LENGTH}={text}: not a number of seconds from 1 to {MAX_SECONDS}")),
    }
}

fn pod(app: &str, number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": format!("{app}-{number}"), "labels": { "app": app } },
        "spec": {
            "runtimeClassName": "wasi-http",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": { "type": "RuntimeDefault" }
            },
            "containers": [{
                "name": "api", "image": image("github-gists-api"), "imagePullPolicy": "IfNotPresent",
                "readinessProbe": { "httpGet": { "path": "/ready", "port": 9090 }, "periodSeconds": 1 },
                "resources": { "requests": { "cpu": "1m", "memory": "16Mi" }, "limits": { "memory": "128Mi" } },
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": { "drop": ["ALL"] }
                }
            }]
        }
    })
}

/// The number in the pod's name.
fn number(pod: &Pod) -> usize {
    pod.name.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap()
}

fn make(namespace: &Namespace, app: &str, numbers: impl Iterator<Item = usize>) {
    let made: Vec<_> = numbers.map(|number| pod(app, number)).collect();
    if !made.is_empty() {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": made });
        namespace.kubectl(["create", "-f", "-"]).input(list.to_string()).must();
    }
}

fn delete(namespace: &Namespace, names: &[String], how: &[&str]) {
    if !names.is_empty() {
        let command = ["delete", "pods", "--wait=false", "--ignore-not-found"];
        let names = names.iter().map(String::as_str);
        namespace.kubectl(command.iter().chain(how).copied().chain(names)).must();
    }
}

/// The UIDs of all pods that the node should run. An error while one is being deleted: what the node has of it does not last.
fn running() -> Result<BTreeSet<String>, String> {
    let mut list =
        kubectl(["get", "pods", "--all-namespaces", "--field-selector", "status.phase=Running"]).json()?;
    let items = list.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
    let uid = |pod: Pod| {
        if pod.deleting() {
            Err(format!("pod {} is being deleted", pod.name))
        } else {
            Ok(pod.uid().to_owned())
        }
    };
    items.into_iter().map(Pod::from).map(uid).collect()
}

/// The state of the node once each pod has one shim, and each shim has a pod.
fn settled() -> NodeState {
    eventually_within(LONG, "the node has one shim for each pod", || {
        let (pods, state) = (running()?, Node::get().state()?);
        let shims: BTreeSet<_> = state.shims.iter().flatten().cloned().collect();
        if shims == pods && state.shims.len() == pods.len() {
            Ok(state)
        } else {
            Err(format!("{} pods {pods:?}, {} shims {:?}", pods.len(), state.shims.len(), state.shims))
        }
    })
}

fn wait_for_ready(namespace: &Namespace, app: &str, count: usize) {
    eventually_within(LONG, &format!("{count} pods are ready"), || {
        let all = pods(namespace.name(), &format!("app={app}"))?;
        if let Some(reason) = all.iter().find_map(Pod::hopeless) {
            return Err(reason);
        }
        let ready = all.iter().filter(|pod| pod.ready()).count();
        if ready == count { Ok(()) } else { Err(format!("{ready} of {count}")) }
    });
}

fn delete_all(namespace: &Namespace) {
    namespace
        .kubectl(["delete", "pods", "-l", &format!("app={APP}"), "--wait=false", "--ignore-not-found"])
        .must();
    eventually_within(LONG, "the deleted pods are gone", || {
        let left = pods(namespace.name(), &format!("app={APP}"))?;
        if left.is_empty() { Ok(()) } else { Err(format!("{} are left", left.len())) }
    });
}

/// How a pod ends.
#[derive(PartialEq, Eq)]
enum End {
    /// It is deleted as soon as it is made, so that the deletion meets its start.
    Early,
    /// It is deleted with a second's grace.
    Killed,
    Drained,
}

impl End {
    /// The end of the pod with this number.
    fn of(number: usize) -> Self {
        match number % 5 {
            0 => Self::Early,
            1 => Self::Killed,
            _ => Self::Drained,
        }
    }
}

/// Makes and deletes pods for that long. Returns how many were made, and how many of these were deleted at once.
fn churn(namespace: &Namespace, length: Duration, first: usize) -> (usize, usize) {
    let a_round = PODS_A_MINUTE * usize::try_from(ROUND.as_secs()).unwrap() / 60;
    let (started, mut next, mut deleted_early) = (Instant::now(), first, 0);
    while started.elapsed() < length {
        let round = Instant::now();
        let all = pods(namespace.name(), &format!("app={APP}")).unwrap_or_else(|refusal| fail(refusal));
        let here: Vec<_> = all.iter().filter(|pod| !pod.deleting()).collect();
        if let Some(reason) = here.iter().find_map(|pod| pod.hopeless()) {
            fail(reason);
        }
        let ready = |end: End| -> Vec<String> {
            let those = here.iter().filter(|pod| pod.ready() && End::of(number(pod)) == end);
            those.map(|pod| pod.name.clone()).collect()
        };
        delete(namespace, &ready(End::Killed), &["--now"]);
        delete(namespace, &ready(End::Drained), &[]);
        let made = next..next + a_round.min(MAX_PODS.saturating_sub(all.len()));
        make(namespace, APP, made.clone());
        let early: Vec<_> = made.clone().filter(|number| End::of(*number) == End::Early).collect();
        deleted_early += early.len();
        delete(namespace, &early.iter().map(|number| format!("{APP}-{number}")).collect::<Vec<_>>(), &[]);
        next = made.end;
        // A round that took longer is not made up for: the rate is a maximum.
        std::thread::sleep(ROUND.saturating_sub(round.elapsed()));
    }
    (next - first, deleted_early)
}

#[test]
fn after_churn_the_node_has_as_many_shims_as_pods_and_nothing_of_the_others() {
    let _access = Access::exclusive();
    if Cluster::get().plain() {
        println!("NOT RUN: the churn is of the runtime class");
        return;
    }
    let length = length();
    let namespace = Namespace::new("churn");
    make(&namespace, KEEPER, 0..KEPT);
    wait_for_ready(&namespace, KEEPER, KEPT);
    let kept = pods(namespace.name(), &format!("app={KEEPER}")).unwrap();
    // The first pods make what a node makes once.
    make(&namespace, APP, 0..KEPT);
    wait_for_ready(&namespace, APP, KEPT);
    delete_all(&namespace);
    let before = settled();

    let watch = PodWatch::start(&namespace, &format!("app={APP}"));
    let started = Instant::now();
    let (made, deleted_early) = churn(&namespace, length, KEPT);
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    delete_all(&namespace);
    let after = eventually_within(LONG, "the node has nothing of the deleted pods", || {
        let after = settled();
        let back = after.containerd_files <= before.containerd_files
            && after.cgroups <= before.cgroups
            && after.mounts <= before.mounts;
        if back { Ok(after) } else { Err(format!("before {before:?}, after {after:?}")) }
    });
    let times: Vec<_> = watch.ready(0, LONG).iter().filter_map(cluster_e2e::Milestones::to_ready).collect();
    assert!(made > 0 && !times.is_empty(), "{made} pods made, {} ready", times.len());
    for pod in &kept {
        let now = Pod::from(namespace.kubectl(["get", "pod", &pod.name]).json().unwrap());
        assert!(now.ready() && now.restarts() == 0 && now.uid() == pod.uid(), "{}", now.object);
        let path = format!("/api/v1/namespaces/{}/pods/{}:8080/proxy/health", namespace.name(), pod.name);
        assert!(kubectl(["get", "--raw", &path]).must().contains("healthy"), "{}", pod.name);
    }

    let group = "churn";
    figure(group, "made", made);
    figure(group, "made_a_minute", (made as f64 / minutes).round());
    figure(group, "ready", times.len());
    figure(group, "deleted_early", deleted_early);
    for (name, share) in [("create_to_ready_median_ms", 0.5), ("create_to_ready_p95_ms", 0.95)] {
        figure(group, name, percentile(&times, share).map_or(0, milliseconds));
    }
    figure(group, "shims_at_the_end", after.shims.len());
    for (when, state) in [("before", &before), ("after", &after)] {
        figure(group, &format!("containerd_files_{when}"), state.containerd_files);
        figure(group, &format!("containerd_memory_kib_{when}"), state.containerd_memory >> 10);
        figure(group, &format!("cgroups_{when}"), state.cgroups);
        figure(group, &format!("mounts_{when}"), state.mounts);
    }
}
