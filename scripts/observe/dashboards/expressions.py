"""Builds the panels' expressions."""

from __future__ import annotations

OURS = 'job="github-gists-api",namespace=~"$namespace"'
PODS = 'pod=~"github-gists-api-.*",namespace=~"$namespace"'
# Envoy names outbound clusters by the service's host, and inbound clusters by the port.
CLUSTER = 'cluster_name=~"outbound.*github-gists-api.*|inbound.8080.*"'
STEP = "$__rate_interval"


def rate(metric: str, *by: str, matching: str = OURS) -> str:
    """Returns a counter's increase in a second."""
    grouping = f"by ({', '.join(by)}) " if by else ""
    return f"sum {grouping}(rate({metric}{{{matching}}}[{STEP}]))"


def total(metric: str, *by: str, matching: str = OURS) -> str:
    """Returns a gauge's sum."""
    grouping = f"by ({', '.join(by)}) " if by else ""
    return f"sum {grouping}({metric}{{{matching}}})"


def quantile(q: float, metric: str, *by: str, matching: str = OURS) -> str:
    """Returns a histogram's quantile."""
    return f"histogram_quantile({q}, {rate(metric + '_bucket', 'le', *by, matching=matching)})"


def quantiles(metric: str, matching: str = OURS) -> list[tuple[str, str]]:
    """Returns three quantiles of a histogram, with legends."""
    return [(quantile(q, metric, matching=matching), name) for q, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))]


RECORDED = '{namespace=~"$namespace"}'
