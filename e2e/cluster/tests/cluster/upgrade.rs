//! An upgrade of the shim under running pods: the installer replaces both programs by renaming, and restarts nothing.

use cluster_e2e::{
    Cluster, Deployment, Fake, Gateway, LONG, Load, Namespace, Node, Pod, Tally, eventually,
    eventually_within,
};
use testkit::http::Request;

const NAME: &str = "github-gists-api";
const HOST: &str = "upgrade.gists.test";
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

#[test]
fn an_upgrade_of_the_shim_fails_no_request_and_old_pods_restart_their_containers() {
    if Cluster::get().plain() {
        println!("NOT RUN: a plain container has no shim of ours");
        return;
    }
    let fake = Fake::get();
    let namespace = Namespace::new("upgrade");
    Cluster::get().dev().at_host(HOST).upstream(&fake.url()).replicas(2).apply(&namespace);
    let api = Deployment::api(&namespace);
    let old = api.ready().remove(0);
    let client = Gateway::get().http(HOST);
    let hit = format!("/{}", fake.user(3));
    eventually("the gateway knows the route", || match client.send(&Request::get(&hit)) {
        Ok(response) if response.status == 200 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let under_load = |what: &str, change: &dyn Fn()| {
        let load = Load::start(&client, 4, 20.0, &[Request::get(&hit), Request::get("/health")]);
        change();
        std::thread::sleep(std::time::Duration::from_secs(2));
        none_failed(what, &load.stop());
    };
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
