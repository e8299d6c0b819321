//! The Prometheus of `k8s/monitoring/prometheus` in a namespace of the test, with short intervals; queried through the API server.

use std::collections::BTreeSet;

use cluster_e2e::{Deployment, Kubectl, Kustomization, Namespace, image, kubectl};
use serde_json::{Value, json};

use super::discovery::{Job, jobs};

/// A running Prometheus.
pub(super) struct Prometheus {
    namespace: Namespace,
    /// The repository's scrape configuration.
    configuration: String,
}

/// The labels of one element of an instant vector.
#[derive(Debug)]
pub(super) struct Vector(Value);

impl Vector {
    pub(super) fn label(&self, name: &str) -> String {
        self.0["metric"][name].as_str().unwrap_or_default().to_owned()
    }
}

impl Prometheus {
    /// Deploys Prometheus; it may not be ready.
    pub(super) fn begin(name: &str) -> Self {
        let namespace = Namespace::new(name);
        let rendered =
            Kustomization::on("k8s/monitoring/prometheus").render(namespace.name(), Some(namespace.name()));
        // The cluster may have the real Prometheus, whose role must not change.
        let rendered = rendered.replace("gists-prometheus", &role(&namespace));
        // Kustomize does not change the namespace of the subject of a binding.
        let rendered =
            rendered.replace("namespace: monitoring\n", &format!("namespace: {}\n", namespace.name()));
        let text = kubectl(["create", "--dry-run=client", "-o", "json", "-f", "-"]).input(rendered).must();
        let objects =
            serde_json::Deserializer::from_str(&text).into_iter().collect::<Result<Vec<Value>, _>>();
        let mut objects = objects.unwrap();
        let mut configuration = String::new();
        for object in &mut objects {
            let name =
                object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
            match object["kind"].as_str() {
                Some("ConfigMap") if name.starts_with("prometheus-config") => {
                    let found = &mut object["data"]["prometheus.yml"];
                    found.as_str().unwrap().clone_into(&mut configuration);
                    *found = adapted(&configuration).into();
                }
                Some("ConfigMap") if name.starts_with("prometheus-rules") => quicken(&mut object["data"]),
                Some("Deployment") => adapt_deployment(&mut object["spec"]["template"]["spec"]),
                _ => {}
            }
        }
        let prometheus = Self { namespace, configuration };
        prometheus
            .namespace
            .apply(&json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string());
        prometheus
    }

    /// Waits until Prometheus is ready.
    pub(super) fn ready(&self) {
        let _ = Deployment::new(&self.namespace, "prometheus").ready();
    }

    /// Writes the current pods and nodes of the cluster as targets.
    pub(super) fn discover(&self, namespaces: &[&str]) {
        for job in jobs(&self.configuration) {
            let file = job.file();
            // By rename: Prometheus must not read a part of a file.
            let write = format!("cat > {file}.new && mv {file}.new {file}");
            self.namespace
                .kubectl(["exec", "-i", "deployment/prometheus", "-c", "targets", "--", "sh", "-c", &write])
                .input(job.targets(namespaces).to_string())
                .must();
        }
    }

    /// The current value of an expression, an instant vector.
    pub(super) fn query(&self, expression: &str) -> Result<Vec<Vector>, String> {
        let answer = self.api(&format!("query?query={}", encoded(expression)))?;
        match answer["result"].as_array() {
            Some(found) if answer["resultType"] == "vector" => {
                Ok(found.iter().cloned().map(Vector).collect())
            }
            _ => Err(format!("{expression}: no vector: {answer}")),
        }
    }

    /// Whether the current value of an expression has an element.
    pub(super) fn some(&self, expression: &str) -> Result<(), String> {
        if self.query(expression)?.is_empty() { Err(format!("{expression} is empty")) } else { Ok(()) }
    }

    /// The names of all series.
    pub(super) fn names(&self) -> Result<BTreeSet<String>, String> {
        let names = self.api("label/__name__/values")?;
        Ok(names.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// Whether a target exports this metric family.
    pub(super) fn announced(&self, family: &str) -> Result<(), String> {
        let found = self.api(&format!("metadata?metric={family}"))?;
        if found.get(family).is_some() { Ok(()) } else { Err(format!("nobody announces {family}")) }
    }

    /// All rules with their state.
    pub(super) fn rules(&self) -> Result<Vec<Value>, String> {
        let found = self.api("rules")?;
        let groups = found["groups"].as_array().ok_or("no groups")?;
        Ok(groups.iter().filter_map(|group| group["rules"].as_array()).flatten().cloned().collect())
    }

    /// Targets that are down and their errors, for the message of a failure.
    pub(super) fn targets(&self) -> String {
        let found = self.api("targets?state=active").unwrap_or_default();
        let all = found["activeTargets"].as_array().cloned().unwrap_or_default();
        let down = all.iter().filter(|target| target["health"] != "up");
        down.map(|target| {
            format!("{} {}: {}; ", target["scrapePool"], target["scrapeUrl"], target["lastError"])
        })
        .collect()
    }

    /// The data of a response of Prometheus' API.
    fn api(&self, path: &str) -> Result<Value, String> {
        let service = format!("/api/v1/namespaces/{}/services/prometheus:9090/proxy", self.namespace.name());
        let text = kubectl(["get", "--raw", &format!("{service}/api/v1/{path}")]).run()?;
        let mut answer: Value = serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
        Ok(answer["data"].take())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // These objects have no namespace, so the deletion of the namespace does not delete them.
        let role = role(&self.namespace);
        let asked: Kubectl = kubectl([
            "delete",
            "clusterrole,clusterrolebinding",
            &role,
            "--wait=false",
            "--ignore-not-found",
        ]);
        let _ = asked.run();
    }
}

fn role(namespace: &Namespace) -> String {
    format!("{}-prometheus", namespace.name())
}

/// The scrape configuration with files in place of discovery, and short intervals.
fn adapted(configuration: &str) -> String {
    let all: Vec<Job<'_>> = jobs(configuration);
    assert!(all.len() >= 6, "discovery is found in {} jobs", all.len());
    let files = all.iter().fold(configuration.to_owned(), |text, job| {
        // Two jobs may have the same line: each replaces its first occurrence.
        text.replacen(job.line, &job.replacement(), 1)
    });
    files
        .replace("scrape_interval: 15s", "scrape_interval: 5s")
        .replace("scrape_timeout: 10s", "scrape_timeout: 5s")
}

/// Sets a short evaluation interval, and adds copies of the error rules with short windows under other names.
fn quicken(files: &mut Value) {
    let files = files.as_object_mut().unwrap();
    for text in files.values_mut() {
        *text = text
            .as_str()
            .unwrap()
            .replace("interval: 30s", "interval: 5s")
            .replace("interval: 2m", "interval: 5s")
            .into();
    }
    for name in ["slo.yaml", "service.yaml"] {
        let text = files[name].as_str().unwrap();
        let quick = [
            ("namespace:gists", "quick:gists"),
            ("alert: Gists", "alert: QuickGists"),
            ("name: gists", "name: quick-gists"),
            ("[5m]", "[20s]"),
            ("for: 5m", "for: 5s"),
        ];
        let text = quick.iter().fold(text.to_owned(), |text, (from, to)| {
            assert!(text.contains(from) || name == "service.yaml", "{name} has no {from}");
            text.replace(from, to)
        });
        files.insert(format!("quick-{name}"), text.into());
    }
}

/// Sets the images, and adds a shell that writes the targets.
fn adapt_deployment(pod: &mut Value) {
    let restricted = pod["containers"][0]["securityContext"].clone();
    let mount = json!({ "name": "targets", "mountPath": "/targets" });
    pod["containers"][0]["image"] = image("prometheus").into();
    pod["containers"][0]["volumeMounts"].as_array_mut().unwrap().push(mount.clone());
    pod["containers"].as_array_mut().unwrap().push(json!({
        "name": "targets", "image": image("busybox"), "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", "trap exit TERM; while :; do sleep 1; done"],
        "resources": { "limits": { "cpu": "100m", "memory": "32Mi" } },
        "securityContext": restricted, "volumeMounts": [mount],
    }));
    pod["volumes"].as_array_mut().unwrap().push(json!({ "name": "targets", "emptyDir": {} }));
}

/// Encodes a text for a query string.
fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}
