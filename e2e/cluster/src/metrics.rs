//! A pod's metrics, read through the API server: any cluster lets one, whatever its network.

use e2e::harness::Samples;

use crate::{Pod, kubectl};

/// What `/metrics` of this port of the pod says; 9090 has the host's series and the component's, 8080 the component's.
///
/// # Errors
/// kubectl's refusal.
pub fn scrape(pod: &Pod, port: u16) -> Result<Samples, String> {
    let path = format!("/api/v1/namespaces/{}/pods/{}:{port}/proxy/metrics", pod.namespace, pod.name);
    kubectl(["get", "--raw", &path]).run().map(|text| Samples::parse(&text))
}
