//! The harness: the fake GitHub in the cluster, and the reader of the node.

use cluster_e2e::{Access, Fake, Node, ScriptedResponse, kubectl, pods};

#[test]
fn the_fake_answers_as_it_is_told_and_remembers() {
    let _access = Access::shared();
    let fake = Fake::get();
    let login = fake.user(3);
    let ask = || {
        let path = format!(
            "/api/v1/namespaces/{}/services/http:fake-github:8099/proxy/users/{login}/gists",
            fake.namespace()
        );
        kubectl(["get", "--raw", &path]).run()
    };
    let gists: serde_json::Value = serde_json::from_str(&ask().unwrap()).unwrap();
    assert_eq!(gists.as_array().map(Vec::len), Some(3));
    fake.always(&login, &ScriptedResponse::status(503));
    assert!(ask().is_err());
    fake.restore(&login);
    fake.next(&login, &[ScriptedResponse::json("[]")]);
    assert_eq!(ask().unwrap(), "[]");
    assert_eq!(fake.calls(&login).len(), 3);
}

#[test]
fn the_node_knows_a_pod_s_cgroup_and_shim() {
    let _access = Access::shared();
    let fake = Fake::get();
    let pod = pods(fake.namespace(), "app=fake-github").unwrap().remove(0);
    let node = Node::get();
    let (all, one) = (node.usage(&pod), node.container_usage(&pod, "fake-github"));
    assert!(one.cpu_ns > 0 && one.cpu_ns <= all.cpu_ns, "{one:?} {all:?}");
    assert!(one.working_set > 0, "{one:?} {all:?}");
    assert!(node.shims(&pod) > 1 << 20);
}
