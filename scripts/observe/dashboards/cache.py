"""The dashboard of the cache and of the calls to GitHub."""

from __future__ import annotations

from ..grafana import Dashboard, Panel
from .expressions import OURS, RECORDED, quantile, quantiles, rate, total

CACHE = Dashboard(
    "gists-cache-github",
    "Gists: cache and GitHub",
    "Hit ratio of the cache, outcomes of calls to GitHub, and what is left of GitHub's rate limit.",
    [
        (
            "GitHub's rate limit",
            [
                Panel(
                    "Requests left",
                    [(f"namespace:gists_github_remaining:min{RECORDED}", "{{namespace}}")],
                    description="The lowest value of the pods that have called GitHub in the last ten minutes.",
                    kind="stat",
                ),
                Panel(
                    "Requests left by pod",
                    [(f"github_rate_limit_remaining{{{OURS}}}", "{{pod}}")],
                    description="Pods with the same token share one limit. A value is as old as the pod's last call to GitHub.",
                ),
                Panel(
                    "Responses with 429",
                    [(rate("http_requests_total", "namespace", matching=OURS + ',status="429"'), "{{namespace}}")],
                    "reqps",
                    "The rate-limit gate is closed: the service does not call GitHub until the limit is reset.",
                ),
            ],
        ),
        (
            "Calls to GitHub",
            [
                Panel(
                    "Calls by outcome",
                    [(rate("github_api_requests_total", "status"), "{{status}}")],
                    "reqps",
                    stacked=True,
                ),
                Panel("Time to first byte", quantiles("wasi_http_host_outbound_first_byte_seconds"), "s"),
                Panel(
                    "Outbound requests by outcome",
                    [
                        (rate("wasi_http_host_outbound_requests_total", "outcome"), "{{outcome}}"),
                        (rate("wasi_http_host_outbound_denied_total"), "denied"),
                    ],
                    "reqps",
                    "As the host counts them. What the service counts as `error`, the host counts as dns, connect or tls.",
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
                    "Stale responses",
                    [(rate("cache_stale_served_total", "reason"), "{{reason}}")],
                    "reqps",
                    "revalidate: the entry is refreshed in the background. error: GitHub failed, or the rate-limit gate is closed.",
                ),
            ],
        ),
        (
            "Key-value store",
            [
                Panel("Operations", [(rate("wasi_http_host_keyvalue_operations_total", "operation"), "{{operation}}")], "ops"),
                Panel(
                    "Errors",
                    [
                        (rate("wasi_http_host_keyvalue_errors_total", "operation"), "{{operation}}"),
                        (rate("cache_store_errors_total"), "requests served without the cache"),
                    ],
                    "ops",
                ),
                Panel(
                    "Duration of operations (99th percentile)",
                    [(quantile(0.99, "wasi_http_host_keyvalue_operation_duration_seconds", "operation"), "{{operation}}")],
                    "s",
                    "The host measures every 32nd operation.",
                ),
                Panel(
                    "Size of the store in memory",
                    [
                        (total("wasi_http_host_keyvalue_memory_bytes", "pod"), "{{pod}}"),
                        (f"max(wasi_http_host_keyvalue_memory_limit_bytes{{{OURS}}})", "limit"),
                    ],
                    "bytes",
                ),
                Panel("Evictions", [(rate("wasi_http_host_keyvalue_memory_evictions_total", "pod"), "{{pod}}")], "ops"),
            ],
        ),
        (
            "Shared store (if configured)",
            [
                Panel(
                    "Connections",
                    [(total("wasi_http_host_keyvalue_remote_connections", "pod", "store"), "{{pod}} {{store}}")],
                    description="Normally one for each thread.",
                ),
                Panel(
                    "Failed operations and connection attempts",
                    [
                        (rate("wasi_http_host_keyvalue_remote_failures_total", "store", "reason"), "{{store}} {{reason}}"),
                        (
                            rate("wasi_http_host_keyvalue_remote_connects_total", "store", matching=OURS + ',outcome="failed"'),
                            "{{store}} connect",
                        ),
                    ],
                    "ops",
                ),
                Panel(
                    "Hit ratio of client-side caching",
                    [
                        (
                            f"{rate('wasi_http_host_keyvalue_remote_cache_hits_total', 'store')}"
                            f" / ({rate('wasi_http_host_keyvalue_remote_cache_hits_total', 'store')}"
                            f" + {rate('wasi_http_host_keyvalue_remote_cache_misses_total', 'store')})",
                            "{{store}}",
                        )
                    ],
                    "percentunit",
                    "No value while the store sends no invalidation messages, or no connection is up.",
                ),
                Panel(
                    "Entries dropped from client-side caching",
                    [
                        (rate("wasi_http_host_keyvalue_remote_cache_invalidations_total", "store"), "{{store}} invalidated"),
                        (rate("wasi_http_host_keyvalue_remote_cache_evictions_total", "store"), "{{store}} evicted"),
                    ],
                    "ops",
                ),
                Panel("In-flight operations", [(total("wasi_http_host_keyvalue_remote_in_flight", "pod", "store"), "{{pod}} {{store}}")]),
            ],
        ),
    ],
)
