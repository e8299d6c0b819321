//! The metrics of a pod, read through the API server, which works on each cluster whatever its network.

use testkit::Samples;

use crate::{Pod, kubectl};

/// The samples of `/metrics` at this port of the pod. Port 9090 has the series of host and component, port 8080 those of the component.
///
/// # Errors
/// kubectl's error.
pub fn scrape(pod: &Pod, port: u16) -> Result<Samples, String> {
    let path = format!("/api/v1/namespaces/{}/pods/{}:{port}/proxy/metrics", pod.namespace, pod.name);
    kubectl(["get", "--raw", &path]).run().map(|text| Samples::parse(&text))
}
