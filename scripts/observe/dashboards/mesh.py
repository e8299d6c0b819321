"""The dashboard of Envoy and istiod."""

from __future__ import annotations

from ..grafana import Dashboard, Panel
from .expressions import CLUSTER, STEP, quantile, rate, total

MESH = Dashboard(
    "gists-mesh",
    "Gists: gateway and mesh",
    "Metrics of Envoy in the ingress gateway and the pods' sidecars, and of istiod.",
    [
        (
            "Upstream: from Envoy to the service",
            [
                Panel(
                    "Responses",
                    [
                        (
                            rate("envoy_cluster_upstream_rq", "pod", "response_code_class", matching=CLUSTER + ',response_code_class!=""'),
                            "{{pod}} {{response_code_class}}",
                        )
                    ],
                    "reqps",
                ),
                Panel(
                    "Response time",
                    [
                        (
                            quantile(0.99, "envoy_cluster_upstream_rq_time", "cluster_name", matching=CLUSTER),
                            "p99 {{cluster_name}}",
                        )
                    ],
                    "ms",
                ),
                Panel(
                    "Retries and timeouts",
                    [
                        (rate("envoy_cluster_upstream_rq_retry", "cluster_name", matching=CLUSTER), "retried {{cluster_name}}"),
                        (rate("envoy_cluster_upstream_rq_timeout", "cluster_name", matching=CLUSTER), "timed out {{cluster_name}}"),
                    ],
                    "reqps",
                ),
            ],
        ),
        (
            "Circuit breaker and outlier detection",
            [
                Panel(
                    "Connections and requests",
                    [
                        (
                            total("envoy_cluster_upstream_cx_active", "pod", "cluster_name", matching=CLUSTER),
                            "connections {{pod}} {{cluster_name}}",
                        ),
                        (
                            total("envoy_cluster_upstream_rq_active", "pod", "cluster_name", matching=CLUSTER),
                            "requests {{pod}} {{cluster_name}}",
                        ),
                    ],
                ),
                Panel(
                    "Rejected by the circuit breaker",
                    [
                        (rate("envoy_cluster_upstream_rq_pending_overflow", "cluster_name", matching=CLUSTER), "{{cluster_name}}"),
                        (
                            f"max by (pod, cluster_name) (envoy_cluster_circuit_breakers_default_rq_open{{{CLUSTER}}})",
                            "open {{pod}} {{cluster_name}}",
                        ),
                    ],
                ),
                Panel(
                    "Ejected pods",
                    [
                        (
                            f"max by (pod, cluster_name) (envoy_cluster_outlier_detection_ejections_active{{{CLUSTER}}})",
                            "{{pod}} {{cluster_name}}",
                        )
                    ],
                ),
                Panel(
                    "Healthy pods",
                    [
                        (f"min by (pod, cluster_name) (envoy_cluster_membership_healthy{{{CLUSTER}}})", "healthy {{pod}} {{cluster_name}}"),
                        (f"max by (pod, cluster_name) (envoy_cluster_membership_total{{{CLUSTER}}})", "known {{pod}} {{cluster_name}}"),
                    ],
                ),
            ],
        ),
        (
            "Envoy and istiod",
            [
                Panel("Memory of Envoy", [("max by (pod) (envoy_server_memory_allocated)", "{{pod}}")], "bytes"),
                Panel("Connected proxies", [("sum by (version) (pilot_xds)", "{{version}}")]),
                Panel("Configuration pushes", [(f"sum by (type) (rate(pilot_xds_pushes[{STEP}]))", "{{type}}")], "ops"),
                Panel(
                    "Time until Envoys have a new configuration",
                    [(f"histogram_quantile(0.99, sum by (le) (rate(pilot_proxy_convergence_time_bucket[{STEP}])))", "p99")],
                    "s",
                ),
                Panel(
                    "Configurations rejected by an Envoy",
                    # The total, because the series starts at 1 with the first rejection, which a rate does not show.
                    [("sum by (type) (pilot_total_xds_rejects)", "{{type}}")],
                    description="Since the start of istiod.",
                ),
            ],
        ),
    ],
)
