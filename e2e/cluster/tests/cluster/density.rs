//! The cost of a pod: time to Ready, memory, size of the image, beside the plain-container variant. Figures without assertions.

use std::time::Duration;

use cluster_e2e::{
    Access, Cluster, Deployment, Kustomization, LONG, Namespace, Node, Pod, PodWatch, figure, kubectl,
    milliseconds, percentile,
};
use serde_json::Value;

const NAME: &str = "github-gists-api";
const PODS: u32 = 8;

/// The memory that is divided by the memory of a pod: 2 GiB.
const ROOM: u64 = 2 << 30;

fn measure(group: &str, namespace: &str, overlay: Kustomization) {
    let namespace = Namespace::new(namespace);
    let api = Deployment::api(&namespace);
    let watch = PodWatch::start(&namespace, &format!("app={NAME}"));
    overlay.replicas(1).eager().apply(&namespace);
    let _ = api.ready();
    let known = |time: Option<Duration>| time.map_or(0, milliseconds);
    let first = watch.ready(1, LONG)[0];
    figure(group, "first_pod_running_ms", known(first.to_running()));
    figure(group, "first_pod_ready_ms", known(first.to_ready()));
    // One pod at a time: at once, the figures would be of the two cores.
    for count in 2..=4 {
        api.scale(count);
        let _ = watch.ready(count, LONG);
    }
    let later = watch.ready(4, LONG);
    let median = |times: Vec<Option<Duration>>| known(percentile(&times[1..], 0.5).flatten());
    figure(
        group,
        "later_pod_running_ms",
        median(later.iter().map(cluster_e2e::Milestones::to_running).collect()),
    );
    figure(
        group,
        "later_pod_ready_ms",
        median(later.iter().map(cluster_e2e::Milestones::to_ready).collect()),
    );

    api.scale(PODS as usize);
    let pods = api.ready();
    assert_eq!(pods.len(), PODS as usize);
    let node = Node::get();
    let cost = |pod: &Pod| {
        let (cgroup, shim) = (node.usage(pod).working_set, node.shims(pod));
        (cgroup, shim)
    };
    let costs: Vec<(u64, u64)> = pods.iter().map(cost).collect();
    let mean = |sum: u64| sum / u64::from(PODS);
    let (cgroup, shim) =
        (mean(costs.iter().map(|cost| cost.0).sum()), mean(costs.iter().map(|cost| cost.1).sum()));
    assert!(cgroup > 1 << 20 && shim > 1 << 18, "{costs:?}");
    figure(group, "pod_cgroup_kib", cgroup >> 10);
    figure(group, "shim_kib", shim >> 10);
    figure(group, "pods_in_2_gib", ROOM / (cgroup + shim));
}

#[test]
fn a_pod_of_the_runtime_class_beside_a_plain_one() {
    let _access = Access::exclusive();
    let cluster = Cluster::get();
    if cluster.plain() {
        println!("NOT MEASURED: the runtime class, in the plain variant of the suite");
    } else {
        Node::get().forget_compiled();
        measure("pod_wasi_http", "density-wasi", cluster.dev());
    }
    measure("pod_plain_container", "density-plain", cluster.dev_plain());
    for (name, size) in images() {
        figure("image_bytes", &name, size);
    }
}

/// Our images on the node, with their sizes.
fn images() -> Vec<(String, u64)> {
    let nodes = kubectl(["get", "nodes"]).json().unwrap();
    let images = nodes.pointer("/items/0/status/images").and_then(Value::as_array).unwrap();
    let named = |image: &Value| {
        let names = image["names"].as_array()?.iter().filter_map(Value::as_str);
        let name =
            names.filter_map(|name| name.strip_prefix("localhost/")).find(|name| !name.contains('@'))?;
        Some((name.split(':').next()?.to_owned(), image["sizeBytes"].as_u64()?))
    };
    let ours = images.iter().filter_map(named).filter(|(name, _)| name.starts_with(NAME));
    let ours: Vec<_> = ours.collect();
    assert!(!ours.is_empty(), "the node names no image of ours");
    ours
}
