//! An Envoy's administration interface, through Istio's agent.

use std::collections::BTreeMap;

use cluster_e2e::{kubectl, pods};
use serde_json::Value;

/// A pod as the gateways see it. Counts are sums over all gateways.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    /// Whether a gateway has ejected the pod.
    pub(crate) ejected: bool,
    /// Envoy's counters: `rq_total`, `cx_connect_fail`, …
    pub(crate) counts: BTreeMap<String, u64>,
}

/// The pods behind a Service, by address, as the ingress gateways see them.
pub(crate) fn hosts(namespace: &str) -> Result<BTreeMap<String, Host>, String> {
    let suffix = format!("||github-gists-api.{namespace}.svc.cluster.local");
    let mut hosts = BTreeMap::<String, Host>::new();
    for gateway in pods("istio-system", "istio=ingressgateway")?.iter().filter(|pod| pod.ready()) {
        let text = proxy("istio-system", &gateway.name, "clusters?format=json")?;
        // The log lines of the agent come first.
        let json = text.find('{').and_then(|start| text.get(start..)).unwrap_or_default();
        let told: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let clusters = told["cluster_statuses"].as_array().into_iter().flatten();
        for status in clusters
            .filter(|cluster| cluster["name"].as_str().is_some_and(|name| name.ends_with(&suffix)))
            .flat_map(|cluster| cluster["host_statuses"].as_array().into_iter().flatten())
        {
            let address = status.pointer("/address/socket_address/address").and_then(Value::as_str);
            let host = hosts.entry(address.unwrap_or_default().to_owned()).or_default();
            let ejected = status.pointer("/health_status/failed_outlier_check").and_then(Value::as_bool);
            host.ejected |= ejected.unwrap_or_default();
            for stat in status["stats"].as_array().into_iter().flatten() {
                let value = stat["value"].as_str().and_then(|value| value.parse::<u64>().ok());
                *host.counts.entry(stat["name"].as_str().unwrap_or_default().to_owned()).or_default() +=
                    value.unwrap_or_default();
            }
        }
    }
    Ok(hosts)
}

/// The response of a pod's Envoy at this path of its administration interface.
pub(crate) fn proxy(namespace: &str, pod: &str, path: &str) -> Result<String, String> {
    let asked =
        ["-n", namespace, "exec", pod, "-c", "istio-proxy", "--", "pilot-agent", "request", "GET", path];
    kubectl(asked).run()
}

impl Host {
    /// A counter; 0 if Envoy does not have it yet.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or_default()
    }
}
