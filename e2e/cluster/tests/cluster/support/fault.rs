//! A pod of the service that misbehaves as scripted.

use cluster_e2e::{
    Call, Kubectl, LONG, Namespace, ScriptedResponse, eventually_within, image, kubectl, pods,
};
use serde_json::{Value, json};

/// A pod with the label of the service, so that requests reach it. It runs the fake GitHub, which responds to `/users/{login}/gists` as
/// scripted for that login.
pub(crate) struct FaultPod<'a> {
    namespace: &'a Namespace,
    name: String,
}

impl<'a> FaultPod<'a> {
    /// A pod that listens on the service's port.
    pub(crate) fn answering(namespace: &'a Namespace, name: &str) -> Self {
        Self::start(namespace, name, 8080, &[])
    }

    /// A pod that does not listen on the service's port: the pod is ready, and refuses each connection.
    pub(crate) fn refusing(namespace: &'a Namespace, name: &str) -> Self {
        Self::start(namespace, name, 8081, &[])
    }

    /// A pod whose address does not answer at the service's port, as that of a lost node: the pod is ready, and each connection to it
    /// times out.
    pub(crate) fn unreachable(namespace: &'a Namespace, name: &str) -> Self {
        Self::start(namespace, name, 8081, &["--unreachable", "0.0.0.0:8080"])
    }

    fn start(namespace: &'a Namespace, name: &str, listen: u16, more: &[&str]) -> Self {
        let listening = format!("0.0.0.0:{listen}");
        let arguments: Vec<_> = ["--listen", &listening].into_iter().chain(more.iter().copied()).collect();
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "labels": { "app": "github-gists-api", "fault": name } },
            "spec": {
                "automountServiceAccountToken": false,
                "terminationGracePeriodSeconds": 1,
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": { "type": "RuntimeDefault" }
                },
                "containers": [{
                    "name": "fault", "image": image("fake-github"), "imagePullPolicy": "IfNotPresent",
                    "args": arguments,
                    "ports": [{ "name": "http", "containerPort": 8080 }],
                    "readinessProbe": { "tcpSocket": { "port": listen }, "periodSeconds": 1 },
                    "securityContext": {
                        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                        "capabilities": { "drop": ["ALL"] }
                    }
                }]
            }
        });
        namespace.apply(&pod.to_string());
        let fault = Self { namespace, name: name.to_owned() };
        let _ = fault.address();
        fault
    }

    /// The address, once the pod is ready.
    pub(crate) fn address(&self) -> String {
        eventually_within(LONG, &format!("pod {} is ready", self.name), || {
            let found = pods(self.namespace.name(), &format!("fault={}", self.name))?;
            let pod = found.iter().find(|pod| pod.ready()).ok_or("not yet")?;
            Ok(pod.text("/status/podIP").to_owned())
        })
    }

    /// Scripts the response to all further requests for this login.
    pub(crate) fn always(&self, login: &str, answer: &ScriptedResponse) {
        self.at("replace", &format!("always/{login}"), Some(&json!(answer))).must();
    }

    /// The recorded requests for this login.
    pub(crate) fn calls(&self, login: &str) -> Vec<Call> {
        let mut told: Value = serde_json::from_str(&self.at("get", "calls", None).must()).unwrap();
        let calls: Vec<Call> = serde_json::from_value(told["calls"].take()).unwrap();
        calls.into_iter().filter(|call| call.login.eq_ignore_ascii_case(login)).collect()
    }

    fn at(&self, verb: &str, path: &str, body: Option<&Value>) -> Kubectl {
        let pod = format!("/api/v1/namespaces/{}/pods/{}:8080/proxy", self.namespace.name(), self.name);
        let path = format!("{pod}/_fake/{path}");
        match body {
            None => kubectl([verb, "--raw", &path]),
            Some(body) => kubectl([verb, "--raw", &path, "-f", "-"]).input(body.to_string()),
        }
    }
}
