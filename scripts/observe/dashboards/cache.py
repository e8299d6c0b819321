"""The cache, and GitHub behind it."""

from __future__ import annotations

from ..grafana import Dashboard, Panel
from .expressions import OURS, RECORDED, rate, total, quantile, quantiles

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
        (
            "Shared store, where there is one",
            [
                Panel(
                    "Connections",
                    [(total("wasi_http_host_keyvalue_remote_connections", "pod", "store"), "{{pod}} {{store}}")],
                    description="One a thread when all is well.",
                ),
                Panel(
                    "Failed",
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
                    "Reads answered from memory",
                    [
                        (
                            f"{rate('wasi_http_host_keyvalue_remote_cache_hits_total', 'store')}"
                            f" / ({rate('wasi_http_host_keyvalue_remote_cache_hits_total', 'store')}"
                            f" + {rate('wasi_http_host_keyvalue_remote_cache_misses_total', 'store')})",
                            "{{store}}",
                        )
                    ],
                    "percentunit",
                    "None while the store does not say what changes, or nothing is connected.",
                ),
                Panel(
                    "Forgotten",
                    [
                        (rate("wasi_http_host_keyvalue_remote_cache_invalidations_total", "store"), "{{store}} changed elsewhere"),
                        (rate("wasi_http_host_keyvalue_remote_cache_evictions_total", "store"), "{{store}} no room"),
                    ],
                    "ops",
                ),
                Panel("Waiting for it", [(total("wasi_http_host_keyvalue_remote_in_flight", "pod", "store"), "{{pod}} {{store}}")]),
            ],
        ),
    ],
)
