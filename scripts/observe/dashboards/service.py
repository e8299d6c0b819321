"""The service as its clients see it."""

from __future__ import annotations

from ..grafana import Dashboard, Panel
from .expressions import OURS, RECORDED, rate, quantile, quantiles

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
