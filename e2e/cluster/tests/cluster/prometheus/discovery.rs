//! Files with the targets that Prometheus' Kubernetes discovery would find: Debian's Prometheus is built without it. The labels are those
//! of the discovery, so that the relabelling of the configuration applies.

use cluster_e2e::{Pod, kubectl};
use serde_json::{Map, Value, json};

/// A job of a scrape configuration, and its `kubernetes_sd_configs`.
pub(super) struct Job<'a> {
    pub(super) name: &'a str,
    pub(super) line: &'a str,
}

/// The jobs with discovery. In the configuration, each discovery has a line of its own.
pub(super) fn jobs(configuration: &str) -> Vec<Job<'_>> {
    let mut jobs = Vec::new();
    let mut name = "";
    for line in configuration.lines() {
        if let Some(found) = line.trim().strip_prefix("- job_name: ") {
            name = found;
        } else if line.trim().starts_with("kubernetes_sd_configs: ") {
            jobs.push(Job { name, line });
        }
    }
    jobs
}

impl Job<'_> {
    /// The file of the targets.
    pub(super) fn file(&self) -> String {
        format!("/targets/{}.json", self.name)
    }

    /// The line that replaces the discovery.
    pub(super) fn replacement(&self) -> String {
        format!("    file_sd_configs: [{{files: ['{}']}}]", self.file())
    }

    /// The targets; pods of the service in other namespaces than `namespaces` are left out, because they belong to other tests.
    pub(super) fn targets(&self, namespaces: &[&str]) -> Value {
        let targets = match self.between("role: ", [',', '}']) {
            Some("node") => nodes(),
            Some("pod") => self.pods(namespaces),
            // The test cluster has no such exporters.
            _ => Vec::new(),
        };
        Value::Array(targets)
    }

    fn pods(&self, namespaces: &[&str]) -> Vec<Value> {
        let mut arguments = vec!["get", "pods"];
        match self.between("names: [", [']', ',']) {
            Some(namespace) => arguments.extend(["-n", namespace]),
            None => arguments.push("-A"),
        }
        let selector = self.between("label: ", ['}', ',']);
        arguments.extend(selector.iter().flat_map(|selector| ["-l", selector]));
        let mut list = kubectl(arguments).json().unwrap();
        let items = list["items"].as_array_mut().map(std::mem::take).unwrap();
        let pods = items.into_iter().map(Pod::from);
        let wanted = pods
            .filter(|pod| selector != Some("app=github-gists-api") || namespaces.contains(&&*pod.namespace));
        wanted.flat_map(|pod| of_pod(&pod)).collect()
    }

    /// The text behind `after` in the line, up to one of `ends`.
    fn between(&self, before: &str, ends: [char; 2]) -> Option<&str> {
        let (_, after) = self.line.split_once(before)?;
        after.split(ends).next()
    }
}

fn nodes() -> Vec<Value> {
    let list = kubectl(["get", "nodes"]).json().unwrap();
    let of = |node: &Value| {
        let addresses = node.pointer("/status/addresses")?.as_array()?;
        let address = addresses.iter().find(|one| one["type"] == "InternalIP")?["address"].as_str()?;
        let port = node.pointer("/status/daemonEndpoints/kubeletEndpoint/Port")?;
        Some(json!({
            "targets": [format!("{address}:{port}")],
            "labels": { "__meta_kubernetes_node_name": node.pointer("/metadata/name")? },
        }))
    };
    list["items"].as_array().unwrap().iter().filter_map(of).collect()
}

/// A target for each port that a container declares. Sidecars that Istio starts first are among the init containers.
fn of_pod(pod: &Pod) -> Vec<Value> {
    let address = pod.text("/status/podIP");
    if address.is_empty() {
        return Vec::new();
    }
    let containers =
        ["/spec/containers", "/spec/initContainers"].iter().filter_map(|path| pod.object.pointer(path));
    let ports = containers.filter_map(Value::as_array).flatten().flat_map(|container| {
        let ports = container["ports"].as_array().cloned().unwrap_or_default();
        ports.into_iter().map(|port| (container["name"].clone(), port))
    });
    ports
        .filter(|(_, port)| port["protocol"] == "TCP")
        .map(|(container, port)| {
            let mut labels = of_metadata(pod);
            let number = port["containerPort"].to_string();
            let mut set = |name: &str, value: &str| {
                labels.insert(format!("__meta_kubernetes_{name}"), value.into());
            };
            set("namespace", &pod.namespace);
            set("pod_name", &pod.name);
            set("pod_ip", address);
            set("pod_phase", pod.text("/status/phase"));
            set("pod_node_name", pod.text("/spec/nodeName"));
            set("pod_container_name", container.as_str().unwrap_or_default());
            set("pod_container_port_name", port["name"].as_str().unwrap_or_default());
            set("pod_container_port_number", &number);
            json!({ "targets": [format!("{address}:{number}")], "labels": labels })
        })
        .collect()
}

/// Labels and annotations. In names, each character other than a letter or a digit becomes an underscore.
fn of_metadata(pod: &Pod) -> Map<String, Value> {
    let mut labels = Map::new();
    for (kind, path) in [("label", "/metadata/labels"), ("annotation", "/metadata/annotations")] {
        for (name, value) in pod.object.pointer(path).and_then(Value::as_object).into_iter().flatten() {
            let name = name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "_");
            labels.insert(format!("__meta_kubernetes_pod_{kind}_{name}"), value.clone());
            labels.insert(format!("__meta_kubernetes_pod_{kind}present_{name}"), "true".into());
        }
    }
    labels
}
