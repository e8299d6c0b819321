"""What the panels ask, put together: which series are ours, and what is made of them."""

from __future__ import annotations

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
