//! An upgrade of the shim under running pods: the installer replaces both programs by renaming. And a restart of the node's containerd.

use std::process::Command;

use cluster_e2e::{
    Access, Cluster, Deployment, Fake, Gateway, LONG, Load, Namespace, Node, Pod, Tally, await_route,
    eventually, eventually_within,
};
use testkit::http::Request;
use testkit::http::blocking::Client;

const NAME: &str = "github-gists-api";
const HOST: &str = "upgrade.gists.test";
const RESTART_HOST: &str = "containerd.gists.test";
/// Replaces the programs of the running shims by copies, each through the shim's own root, and prints the shim's path.
const REPLACE: &str = r#"
set -eu
for p in $(grep -la containerd-shim-wasi-http-v1 /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3); do
  path=$(readlink /proc/$p/exe) || continue
  case "$path" in */containerd-shim-wasi-http-v1) ;; *) continue ;; esac
  bin=/proc/$p/root${path%/*}
  for name in wasi-http-host containerd-shim-wasi-http-v1; do
    cp "$bin/$name" "$bin/.fresh-$name" && chmod 755 "$bin/.fresh-$name" && mv "$bin/.fresh-$name" "$bin/$name"
  done
  echo "$path"
  exit
done
"#;

/// The programs of the processes of a pod's shim and container.
fn programs(pod: &Pod) -> Result<String, String> {
    let script = format!(
        "for p in $(grep -l '{}' /proc/[0-9]*/cgroup 2>/dev/null | cut -d/ -f3); do\n\
           echo $(readlink /proc/$p/exe); echo shim $(readlink /proc/$(awk '$1 == \"PPid:\" {{ print $2 }}' /proc/$p/status)/exe)\n\
         done",
        container(pod)
    );
    Node::get().script(&script)
}

fn container(pod: &Pod) -> String {
    let id =
        pod.container(NAME).and_then(|container| container.status["containerID"].as_str().map(str::to_owned));
    id.unwrap_or_default().trim_start_matches("containerd://").to_owned()
}

fn none_failed(what: &str, tally: &Tally) {
    assert!(tally.sent > 20, "{what}: too little load to tell: {}", tally.summary());
    assert_eq!(tally.status(200), tally.sent, "{what}: {}\n{}", tally.summary(), tally.reasons.join("\n"));
}

/// Runs `change`, and requires that no request fails meanwhile and for two seconds after it.
fn under_load(client: &Client, path: &str, what: &str, change: &dyn Fn()) {
    let load = Load::start(client, 4, 20.0, &[Request::get(path), Request::get("/health")]);
    change();
    std::thread::sleep(std::time::Duration::from_secs(2));
    none_failed(what, &load.stop());
}

#[test]
fn a_restart_of_containerd_fails_no_request_and_its_pods_can_be_replaced() {
    let _access = Access::exclusive();
    // The cluster of `scripts/cluster`, whose node is this machine.
    if std::env::var_os("CLUSTER_TEST_REGISTRIES").is_none() {
        println!(
            "NOT RUN: CLUSTER_TEST_REGISTRIES does not name the directory of a containerd on this machine"
        );
        return;
    }
    let fake = Fake::get();
    let namespace = Namespace::new("containerd");
    Cluster::get().dev().at_host(RESTART_HOST).upstream(&fake.url()).replicas(2).eager().apply(&namespace);
    let api = Deployment::api(&namespace);
    let before = api.ready();
    let client = Gateway::get().http(RESTART_HOST);
    let hit = format!("/{}", fake.user(3));
    await_route(&client, &Request::get(&hit));
    under_load(&client, &hit, "containerd restarts", &|| {
        let restart = testkit::paths::workspace().join("local-cluster/restart-containerd");
        let output = Command::new(restart).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
    eventually("the pods are ready, and none was started again", || {
        let found: Vec<_> =
            api.ready_pods().iter().map(|pod| (pod.uid().to_owned(), pod.restarts())).collect();
        let same = before.iter().all(|pod| found.contains(&(pod.uid().to_owned(), 0)));
        if same { Ok(()) } else { Err(format!("{found:?}")) }
    });
    under_load(&client, &hit, "pods are replaced by the new containerd", &|| {
        api.restart();
        let pods = api.ready();
        assert!(pods.iter().all(|pod| before.iter().all(|old| old.uid() != pod.uid())), "an old pod is left");
    });
}

#[test]
fn an_upgrade_of_the_shim_fails_no_request_and_old_pods_restart_their_containers() {
    let _access = Access::exclusive();
    if Cluster::get().plain() {
        println!("NOT RUN: a plain container has no shim of ours");
        return;
    }
    let fake = Fake::get();
    let namespace = Namespace::new("upgrade");
    Cluster::get().dev().at_host(HOST).upstream(&fake.url()).replicas(2).eager().apply(&namespace);
    let api = Deployment::api(&namespace);
    let old = api.ready().remove(0);
    let client = Gateway::get().http(HOST);
    let hit = format!("/{}", fake.user(3));
    await_route(&client, &Request::get(&hit));
    let under_load = |what: &str, change: &dyn Fn()| under_load(&client, &hit, what, change);
    under_load("the programs are replaced", &|| {
        let path = Node::get().script(REPLACE).unwrap();
        assert!(path.trim().ends_with("/containerd-shim-wasi-http-v1"), "no shim runs: {path:?}");
    });
    let running = programs(&old).unwrap();
    assert!(
        running.contains("shim /") && running.contains("containerd-shim-wasi-http-v1 (deleted)"),
        "{running}"
    );

    // The container crashes: the kubelet makes it again in the old pod, whose old shim starts the new host.
    let crashed = container(&old);
    let kill = format!("kill -9 $(grep -l '{crashed}' /proc/[0-9]*/cgroup 2>/dev/null | cut -d/ -f3)");
    Node::get().script(&kill).unwrap();
    let again = eventually_within(LONG, "the container runs again in the old pod", || {
        let pods = api.ready_pods();
        let pod = pods.into_iter().find(|pod| pod.uid() == old.uid()).ok_or("the pod is not ready")?;
        if pod.restarts() == 1 && container(&pod) != crashed { Ok(pod) } else { Err(container(&pod)) }
    });
    let running = programs(&again).unwrap();
    assert!(running.contains("containerd-shim-wasi-http-v1 (deleted)"), "the old shim goes on: {running}");
    assert!(!running.contains("wasi-http-host (deleted)"), "the new host was started: {running}");

    under_load("new pods start with the new shim", &|| {
        api.restart();
        let pods = api.ready();
        assert!(pods.iter().all(|pod| pod.uid() != old.uid()), "the old pod is left");
        let running = programs(&pods[0]).unwrap();
        assert!(!running.contains("(deleted)"), "{running}");
    });
}
