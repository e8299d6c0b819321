"""The dashboard of the service as its clients see it."""

from __future__ import annotations

from ..grafana import Dashboard, Panel
from .expressions import OURS, RECORDED, quantile, quantiles, rate

SERVICE = Dashboard(
    "gists-service",
    "Gists: service",
    "Rate, errors and duration of requests, and the remaining error budget.",
    [
        (
            "Objective: 99.9 % over 30 days",
            [
                Panel(
                    "Remaining error budget",
                    [(f"1 - namespace:gists_slo_errors:ratio_rate30d{RECORDED} / 0.001", "{{namespace}}")],
                    "percentunit",
                    "Of 30 days, or of as many days as Prometheus has data for.",
                    "stat",
                ),
                Panel(
                    "Failed requests",
                    [(f"namespace:gists_slo_errors:ratio_rate5m{RECORDED}", "{{namespace}}")],
                    "percentunit",
                    "Share of 5xx among the valid requests. 404, 429 and failures that GitHub's 403 caused do not count.",
                    "stat",
                    [(0.001, "orange"), (0.05, "red")],
                ),
                Panel("Requests", [(f"namespace:gists_requests:rate5m{RECORDED}", "{{namespace}}")], "reqps", kind="stat"),
                Panel(
                    "Ready pods",
                    [(f"sum by (namespace) (up{{{OURS}}})", "{{namespace}}")],
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
                    description="At 1, the error budget lasts exactly 30 days. At 14.4 for an hour, an alert pages.",
                    thresholds=[(6, "orange"), (14.4, "red")],
                ),
                Panel(
                    "5xx by route",
                    [(rate("http_requests_total", "endpoint", "status", matching=OURS + ',status=~"5.."'), "{{endpoint}} {{status}}")],
                    "reqps",
                ),
                Panel(
                    "Responses by track",
                    [(rate("wasi_http_host_requests_total", "track", "status"), "{{track}} {{status}}")],
                    "reqps",
                    "Stable and canary.",
                ),
            ],
        ),
        (
            "Duration",
            [
                Panel(
                    "Duration in the component",
                    [
                        (f"namespace:gists_request_duration_seconds:{q}_5m{RECORDED}", f"{{{{namespace}}}} {q}")
                        for q in ("p50", "p95", "p99")
                    ],
                    "s",
                    "From the arrival of a request to its response, with calls to GitHub, without probes.",
                    thresholds=[(1, "orange"), (2, "red")],
                ),
                Panel(
                    "Duration by route (99th percentile)",
                    [(quantile(0.99, "http_request_duration_seconds", "endpoint"), "{{endpoint}}")],
                    "s",
                ),
                Panel(
                    "Duration as clients see it",
                    quantiles("wasi_http_host_request_duration_seconds"),
                    "s",
                    "Until the last byte, with the time in the queue and the time of slow clients.",
                ),
            ],
        ),
    ],
)
