"""The host and its pods."""

from __future__ import annotations

from ..grafana import Dashboard, Panel
from .expressions import OURS, PODS, STEP, rate, total

HOST = Dashboard(
    "gists-host",
    "Gists: host and pods",
    "The WebAssembly host's queues and instances, and what its pods use.",
    [
        (
            "Load",
            [
                Panel("Being served", [(total("wasi_http_host_requests_active", "pod"), "{{pod}}")]),
                Panel("Waiting for a place", [(total("wasi_http_host_requests_queued", "pod"), "{{pod}}")]),
                Panel("Turned away", [(rate("wasi_http_host_requests_rejected_total", "reason"), "{{reason}}")], "reqps"),
                Panel("Connections", [(total("wasi_http_host_connections_open", "pod"), "{{pod}}")]),
            ],
        ),
        (
            "Instances",
            [
                Panel("Live", [(total("wasi_http_host_instances_live", "pod"), "{{pod}}")]),
                Panel(
                    "Made and ended",
                    [
                        (rate("wasi_http_host_instances_created_total"), "made"),
                        (rate("wasi_http_host_instances_ended_total", "reason"), "{{reason}}"),
                    ],
                    "ops",
                ),
                Panel("Traps by kind", [(f"sum by (kind) (wasi_http_host_traps_total{{{OURS}}})", "{{kind}}")], kind="timeseries"),
                Panel("Guests' memory", [(total("wasi_http_host_guest_memory_bytes", "pod"), "{{pod}}")], "bytes"),
            ],
        ),
        (
            "Components, where there are several",
            [
                Panel("Requests", [(rate("wasi_http_host_requests_total", "component"), "{{component}}")], "reqps"),
                Panel(
                    "Failing",
                    [(rate("wasi_http_host_requests_total", "component", matching=OURS + ',status="5xx"'), "{{component}}")],
                    "reqps",
                    "Answered 5xx.",
                ),
                Panel("Live instances", [(total("wasi_http_host_instances_live", "component"), "{{component}}")]),
                Panel("Memory", [(total("wasi_http_host_guest_memory_bytes", "component"), "{{component}}")], "bytes"),
            ],
        ),
        (
            "Changes, and traces where they are sent",
            [
                Panel(
                    "Reloads",
                    [(f"sum by (outcome) (increase(wasi_http_host_reloads_total{{{OURS}}}[1h]))", "{{outcome}}")],
                    description="In the hour before: manifest, component or settings changed. failed: what was served before still is.",
                ),
                Panel(
                    "Spans",
                    [
                        (rate("wasi_http_host_trace_spans_exported_total"), "taken by the collector"),
                        (rate("wasi_http_host_trace_spans_dropped_total", "reason"), "lost: {{reason}}"),
                    ],
                    "ops",
                ),
                Panel("Spans that wait", [(total("wasi_http_host_trace_spans_queued", "pod"), "{{pod}}")]),
            ],
        ),
        (
            "TLS, where the pods speak it themselves",
            [
                Panel(
                    "Certificate lasts",
                    [(f"min by (namespace, pod) (wasi_http_host_tls_certificate_not_after_seconds{{{OURS}}}) - time()", "{{pod}}")],
                    "s",
                    "Of the first certificate of the chain that is in use.",
                ),
                Panel(
                    "Certificates taken over",
                    [(f"sum by (outcome) (increase(wasi_http_host_tls_certificate_reloads_total{{{OURS}}}[1h]))", "{{outcome}}")],
                    description="In the hour before. failed: the pair before them stays.",
                ),
                Panel("Handshakes", [(rate("wasi_http_host_tls_handshakes_total", "outcome"), "{{outcome}}")], "ops"),
                Panel("Handshakes under way", [(total("wasi_http_host_tls_handshakes_active", "pod"), "{{pod}}")]),
            ],
        ),
        (
            "Pods",
            [
                Panel(
                    "Processor, of the limit",
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
                    "Memory, of the limit",
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
                    "Held back by the limit",
                    [
                        (
                            f'sum by (pod) (rate(container_cpu_cfs_throttled_periods_total{{{PODS}}}[{STEP}]))'
                            f' / sum by (pod) (rate(container_cpu_cfs_periods_total{{{PODS}}}[{STEP}]))',
                            "{{pod}}",
                        )
                    ],
                    "percentunit",
                    "Share of the scheduler's periods in which a pod had to wait.",
                ),
                Panel(
                    "Process memory",
                    [(total("process_resident_memory_bytes", "pod"), "{{pod}}")],
                    "bytes",
                    "Compiled code is mapped, and shared between a node's pods.",
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
                            "{{namespace}} at most",
                        ),
                    ],
                ),
                Panel(
                    "Restarts",
                    [(f"sum by (pod, container) (increase(kube_pod_container_status_restarts_total{{{PODS}}}[1h]))", "{{pod}} {{container}}")],
                    description="In the hour before.",
                ),
                Panel("Processor time", [(rate("process_cpu_seconds_total", "pod"), "{{pod}}")], "s"),
                Panel("Open files", [(total("process_open_fds", "pod"), "{{pod}}")]),
                Panel("Versions", [(total("wasi_http_host_build_info", "version", "track"), "{{track}} {{version}}")]),
            ],
        ),
    ],
)
