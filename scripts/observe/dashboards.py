"""The dashboards: the one source of `k8s/monitoring/grafana/dashboards/*.json`."""

from __future__ import annotations

from .grafana import Dashboard, Panel

OURS = 'job="github-gists-api",namespace=~"$namespace"'
PODS = 'pod=~"github-gists-api-.*",namespace=~"$namespace"'
# Envoy names a service by its host; the inbound side of our own sidecars by the port.
CLUSTER = 'cluster_name=~"outbound.*github-gists-api.*|inbound.8080.*"'
STEP = "$__rate_interval"


def rate(metric: str, *by: str, matching: str = OURS) -> str:
    """What a counter grows by in a second."""
    grouping = f"by ({', '.join(by)}) " if by else ""
    return f"sum {grouping}(rate({metric}{{{matching}}}[{STEP}]))"


def total(metric: str, *by: str, matching: str = OURS) -> str:
    """A gauge, added up."""
    grouping = f"by ({', '.join(by)}) " if by else ""
    return f"sum {grouping}({metric}{{{matching}}})"


def quantile(q: float, metric: str, *by: str, matching: str = OURS) -> str:
    """A histogram's quantile."""
    return f"histogram_quantile({q}, {rate(metric + '_bucket', 'le', *by, matching=matching)})"


def quantiles(metric: str, matching: str = OURS) -> list[tuple[str, str]]:
    """The three that one looks at."""
    return [(quantile(q, metric, matching=matching), name) for q, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))]


RECORDED = '{namespace=~"$namespace"}'

SERVICE = Dashboard(
    "gists-service",
    "Gists: service",
    "Rate, errors, duration, and what is left of the error budget.",
    [
        (
            "Objective: 99.9 % over 30 days",
            [
                Panel(
                    "Error budget left",
                    [(f"1 - namespace:gists_slo_errors:ratio_rate30d{RECORDED} / 0.001", "{{namespace}}")],
                    "percentunit",
                    "Of 30 days, or of as many as Prometheus remembers.",
                    "stat",
                ),
                Panel(
                    "Failing now",
                    [(f"namespace:gists_slo_errors:ratio_rate5m{RECORDED}", "{{namespace}}")],
                    "percentunit",
                    "5xx among valid requests; 404, 429 and what GitHub's 403 caused are none of ours.",
                    "stat",
                    [(0.001, "orange"), (0.05, "red")],
                ),
                Panel("Requests", [(f"namespace:gists_requests:rate5m{RECORDED}", "{{namespace}}")], "reqps", kind="stat"),
                Panel(
                    "Ready pods",
                    [(f'sum by (namespace) (up{{{OURS}}})', "{{namespace}}")],
                    description="Pods that Prometheus can scrape.",
                    kind="stat",
                ),
            ],
        ),
        (
            "Rate",
            [
                Panel("Requests by route", [(rate("http_requests_total", "endpoint"), "{{endpoint}}")], "reqps", stacked=True),
                Panel("Requests by status", [(rate("http_requests_total", "status"), "{{status}}")], "reqps", stacked=True),
                Panel("Requests by pod", [(rate("wasi_http_host_requests_total", "pod"), "{{pod}}")], "reqps"),
            ],
        ),
        (
            "Errors",
            [
                Panel(
                    "Burn rate",
                    [
                        (f"namespace:gists_slo_errors:ratio_rate5m{RECORDED} / 0.001", "{{namespace}} 5 min"),
                        (f"namespace:gists_slo_errors:ratio_rate1h{RECORDED} / 0.001", "{{namespace}} 1 h"),
                        (f"namespace:gists_slo_errors:ratio_rate6h{RECORDED} / 0.001", "{{namespace}} 6 h"),
                    ],
                    description="1 spends the budget in exactly 30 days; 14.4 for an hour pages.",
                    thresholds=[(6, "orange"), (14.4, "red")],
                ),
                Panel(
                    "5xx by route",
                    [(rate("http_requests_total", "endpoint", "status", matching=OURS + ',status=~"5.."'), "{{endpoint}} {{status}}")],
                    "reqps",
                ),
                Panel(
                    "Answers by track",
                    [(rate("wasi_http_host_requests_total", "track", "status"), "{{track}} {{status}}")],
                    "reqps",
                    "Stable and canary side by side.",
                ),
            ],
        ),
        (
            "Duration",
            [
                Panel(
                    "In the component",
                    [(f"namespace:gists_request_duration_seconds:{q}_5m{RECORDED}", f"{{{{namespace}}}} {q}") for q in ("p50", "p95", "p99")],
                    "s",
                    "From a request's arrival to its response; questions to GitHub included, probes not.",
                    thresholds=[(1, "orange"), (2, "red")],
                ),
                Panel(
                    "99th percentile by route",
                    [(quantile(0.99, "http_request_duration_seconds", "endpoint"), "{{endpoint}}")],
                    "s",
                ),
                Panel(
                    "As clients see it",
                    quantiles("wasi_http_host_request_duration_seconds"),
                    "s",
                    "To the last byte: waiting for a place, and slow clients, included.",
                ),
            ],
        ),
    ],
)

CACHE = Dashboard(
    "gists-cache-github",
    "Gists: cache and GitHub",
    "What the cache spares, what GitHub says, and how much it will still say.",
    [
        (
            "GitHub's quota",
            [
                Panel(
                    "Requests left",
                    [(f"namespace:gists_github_remaining:min{RECORDED}", "{{namespace}}")],
                    description="By what GitHub said last to a pod that has asked within ten minutes.",
                    kind="stat",
                ),
                Panel(
                    "Left, by pod",
                    [(f"github_rate_limit_remaining{{{OURS}}}", "{{pod}}")],
                    description="Pods with one token share one quota; a figure is as old as that pod's last question.",
                ),
                Panel(
                    "Answered 429",
                    [(rate("http_requests_total", "namespace", matching=OURS + ',status="429"'), "{{namespace}}")],
                    "reqps",
                    "The gate is closed: nobody asks GitHub.",
                ),
            ],
        ),
        (
            "GitHub's answers",
            [
                Panel(
                    "Questions by outcome",
                    [(rate("github_api_requests_total", "status"), "{{status}}")],
                    "reqps",
                    stacked=True,
                ),
                Panel("Time to its first byte", quantiles("wasi_http_host_outbound_first_byte_seconds"), "s"),
                Panel(
                    "Outbound by outcome",
                    [
                        (rate("wasi_http_host_outbound_requests_total", "outcome"), "{{outcome}}"),
                        (rate("wasi_http_host_outbound_denied_total"), "denied"),
                    ],
                    "reqps",
                    "As the host sees them: dns, connect and tls are its own words for what the service calls `error`.",
                ),
            ],
        ),
        (
            "Cache",
            [
                Panel("Hit ratio", [(f"namespace:gists_cache_hits:ratio_rate5m{RECORDED}", "{{namespace}}")], "percentunit"),
                Panel(
                    "Hits and misses",
                    [(rate("cache_hits_total"), "hits"), (rate("cache_misses_total"), "misses")],
                    "reqps",
                    stacked=True,
                ),
                Panel(
                    "Stale answers",
                    [(rate("cache_stale_served_total", "reason"), "{{reason}}")],
                    "reqps",
                    "revalidate: refreshed behind the answer. error: GitHub failed, or the gate is closed.",
                ),
            ],
        ),
        (
            "Store",
            [
                Panel("Operations", [(rate("wasi_http_host_keyvalue_operations_total", "operation"), "{{operation}}")], "ops"),
                Panel(
                    "Errors",
                    [
                        (rate("wasi_http_host_keyvalue_errors_total", "operation"), "{{operation}}"),
                        (rate("cache_store_errors_total"), "went on without the cache"),
                    ],
                    "ops",
                ),
                Panel(
                    "99th percentile of an operation",
                    [(quantile(0.99, "wasi_http_host_keyvalue_operation_duration_seconds", "operation"), "{{operation}}")],
                    "s",
                    "Of every 32nd.",
                ),
                Panel(
                    "In memory",
                    [
                        (total("wasi_http_host_keyvalue_memory_bytes", "pod"), "{{pod}}"),
                        (f"max(wasi_http_host_keyvalue_memory_limit_bytes{{{OURS}}})", "limit"),
                    ],
                    "bytes",
                ),
                Panel("Evictions", [(rate("wasi_http_host_keyvalue_memory_evictions_total", "pod"), "{{pod}}")], "ops"),
            ],
        ),
    ],
)

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
                            'sum by (namespace, horizontalpodautoscaler) (kube_horizontalpodautoscaler_spec_max_replicas{horizontalpodautoscaler=~"github-gists-api.*",namespace=~"$namespace"})',
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

MESH = Dashboard(
    "gists-mesh",
    "Gists: gateway and mesh",
    "Envoy's own statistics, of the ingress gateway, of the pods' sidecars, and istiod's.",
    [
        (
            "Upstream: from Envoy to the service",
            [
                Panel(
                    "Answers",
                    [(rate("envoy_cluster_upstream_rq", "pod", "response_code_class", matching=CLUSTER + ',response_code_class!=""'), "{{pod}} {{response_code_class}}")],
                    "reqps",
                ),
                Panel(
                    "Time to an answer",
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
                    "Pools",
                    [
                        (total("envoy_cluster_upstream_cx_active", "pod", "cluster_name", matching=CLUSTER), "connections {{pod}} {{cluster_name}}"),
                        (total("envoy_cluster_upstream_rq_active", "pod", "cluster_name", matching=CLUSTER), "requests {{pod}} {{cluster_name}}"),
                    ],
                ),
                Panel(
                    "Pool full",
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
                Panel("Envoy's memory", [("max by (pod) (envoy_server_memory_allocated)", "{{pod}}")], "bytes"),
                Panel("Connected proxies", [("sum by (version) (pilot_xds)", "{{version}}")]),
                Panel("Pushes", [(f"sum by (type) (rate(pilot_xds_pushes[{STEP}]))", "{{type}}")], "ops"),
                Panel(
                    "Time until Envoys know",
                    [(f"histogram_quantile(0.99, sum by (le) (rate(pilot_proxy_convergence_time_bucket[{STEP}])))", "p99")],
                    "s",
                ),
                Panel("Refused by an Envoy", [(f"sum by (type) (rate(pilot_total_xds_rejects[{STEP}]))", "{{type}}")], "ops"),
            ],
        ),
    ],
)

ALL = [SERVICE, CACHE, HOST, MESH]
