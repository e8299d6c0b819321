"""The dashboard of the host and its pods."""

from __future__ import annotations

from ..grafana import Dashboard, Panel
from .expressions import OURS, PODS, STEP, rate, total

HOST = Dashboard(
    "gists-host",
    "Gists: host and pods",
    "Load and instances of the WebAssembly host, and resources of its pods.",
    [
        (
            "Load",
            [
                Panel("Active requests", [(total("wasi_http_host_requests_active", "pod"), "{{pod}}")]),
                Panel("Queued requests", [(total("wasi_http_host_requests_queued", "pod"), "{{pod}}")]),
                Panel("Rejected requests", [(rate("wasi_http_host_requests_rejected_total", "reason"), "{{reason}}")], "reqps"),
                Panel("Open connections", [(total("wasi_http_host_connections_open", "pod"), "{{pod}}")]),
            ],
        ),
        (
            "Instances",
            [
                Panel("Live instances", [(total("wasi_http_host_instances_live", "pod"), "{{pod}}")]),
                Panel(
                    "Instances created and ended",
                    [
                        (rate("wasi_http_host_instances_created_total"), "created"),
                        (rate("wasi_http_host_instances_ended_total", "reason"), "{{reason}}"),
                    ],
                    "ops",
                ),
                Panel("Traps by kind", [(f"sum by (kind) (wasi_http_host_traps_total{{{OURS}}})", "{{kind}}")], kind="timeseries"),
                Panel("Memory of instances", [(total("wasi_http_host_guest_memory_bytes", "pod"), "{{pod}}")], "bytes"),
            ],
        ),
        (
            "By component",
            [
                Panel("Requests", [(rate("wasi_http_host_requests_total", "component"), "{{component}}")], "reqps"),
                Panel(
                    "Failed requests",
                    [(rate("wasi_http_host_requests_total", "component", matching=OURS + ',status="5xx"'), "{{component}}")],
                    "reqps",
                    "Responses with 5xx.",
                ),
                Panel("Live instances", [(total("wasi_http_host_instances_live", "component"), "{{component}}")]),
                Panel("Memory", [(total("wasi_http_host_guest_memory_bytes", "component"), "{{component}}")], "bytes"),
            ],
        ),
        (
            "Reloads and traces",
            [
                Panel(
                    "Reloads",
                    [(f"sum by (outcome) (increase(wasi_http_host_reloads_total{{{OURS}}}[1h]))", "{{outcome}}")],
                    description="In the last hour, after a change of manifest, component or settings. failed: the previous one stays.",
                ),
                Panel(
                    "Spans",
                    [
                        (rate("wasi_http_host_trace_spans_exported_total"), "exported"),
                        (rate("wasi_http_host_trace_spans_dropped_total", "reason"), "dropped: {{reason}}"),
                    ],
                    "ops",
                ),
                Panel("Queued spans", [(total("wasi_http_host_trace_spans_queued", "pod"), "{{pod}}")]),
            ],
        ),
        (
            "TLS (if the host terminates it)",
            [
                Panel(
                    "Time until the certificate expires",
                    [(f"min by (namespace, pod) (wasi_http_host_tls_certificate_not_after_seconds{{{OURS}}}) - time()", "{{pod}}")],
                    "s",
                    "Of the first certificate in the chain.",
                ),
                Panel(
                    "Certificate reloads",
                    [(f"sum by (outcome) (increase(wasi_http_host_tls_certificate_reloads_total{{{OURS}}}[1h]))", "{{outcome}}")],
                    description="In the last hour. failed: the previous certificate and key stay in use.",
                ),
                Panel("Handshakes", [(rate("wasi_http_host_tls_handshakes_total", "outcome"), "{{outcome}}")], "ops"),
                Panel("Handshakes in progress", [(total("wasi_http_host_tls_handshakes_active", "pod"), "{{pod}}")]),
            ],
        ),
        (
            "Pods",
            [
                Panel(
                    "CPU usage (share of the limit)",
                    [
                        (
                            f'max by (pod, container) (rate(container_cpu_usage_seconds_total{{{PODS},container!="",container!="POD"}}[{STEP}]))'
                            f' / on (pod, container) max by (pod, container) (kube_pod_container_resource_limits{{{PODS},resource="cpu"}})',
                            "{{pod}} {{container}}",
                        )
                    ],
                    "percentunit",
                    thresholds=[(0.9, "red")],
                ),
                Panel(
                    "Memory usage (share of the limit)",
                    [
                        (
                            f'max by (pod, container) (container_memory_working_set_bytes{{{PODS},container!="",container!="POD"}})'
                            f' / on (pod, container) max by (pod, container) (kube_pod_container_resource_limits{{{PODS},resource="memory"}})',
                            "{{pod}} {{container}}",
                        )
                    ],
                    "percentunit",
                    thresholds=[(0.9, "red")],
                ),
                Panel(
                    "CPU throttling",
                    [
                        (
                            f"sum by (pod) (rate(container_cpu_cfs_throttled_periods_total{{{PODS}}}[{STEP}]))"
                            f" / sum by (pod) (rate(container_cpu_cfs_periods_total{{{PODS}}}[{STEP}]))",
                            "{{pod}}",
                        )
                    ],
                    "percentunit",
                    "Share of the scheduler's periods in which the CPU limit throttled the pod.",
                ),
                Panel(
                    "Resident memory of the process",
                    [(total("process_resident_memory_bytes", "pod"), "{{pod}}")],
                    "bytes",
                    "Compiled code is mapped. The pods of a node share it.",
                ),
            ],
        ),
        (
            "Kubernetes",
            [
                Panel(
                    "Replicas",
                    [
                        (
                            'sum by (namespace, deployment) (kube_deployment_status_replicas_available{deployment=~"github-gists-api.*",namespace=~"$namespace"})',
                            "{{namespace}}/{{deployment}} available",
                        ),
                        (
                            'sum by (namespace, horizontalpodautoscaler) (kube_horizontalpodautoscaler_spec_max_replicas{horizontalpodautoscaler=~"(keda-hpa-)?github-gists-api.*",namespace=~"$namespace"})',
                            "{{namespace}} maximum",
                        ),
                    ],
                ),
                Panel(
                    "Restarts",
                    [
                        (
                            f"sum by (pod, container) (increase(kube_pod_container_status_restarts_total{{{PODS}}}[1h]))",
                            "{{pod}} {{container}}",
                        )
                    ],
                    description="In the last hour.",
                ),
                Panel("CPU seconds per second", [(rate("process_cpu_seconds_total", "pod"), "{{pod}}")], "s"),
                Panel("Open file descriptors", [(total("process_open_fds", "pod"), "{{pod}}")]),
                Panel("Versions", [(total("wasi_http_host_build_info", "version", "track"), "{{track}} {{version}}")]),
            ],
        ),
    ],
)
