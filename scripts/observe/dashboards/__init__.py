"""The dashboards: the one source of `k8s/monitoring/grafana/dashboards/*.json`."""

from .cache import CACHE
from .host import HOST
from .mesh import MESH
from .service import SERVICE

ALL = [SERVICE, CACHE, HOST, MESH]

__all__ = ["ALL"]
