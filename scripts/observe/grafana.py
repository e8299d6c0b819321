"""Writes Grafana's JSON for dashboards: rows of panels on a grid of 24 columns."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
# Grafana 11 and 12 read this schema version without migration.
SCHEMA = 39
WIDTH, HEIGHT = 24, 8


@dataclass(frozen=True)
class Panel:
    """A graph or a number. Each query is an expression and a legend."""

    title: str
    queries: list[tuple[str, str]]
    unit: str = "short"
    description: str = ""
    kind: str = "timeseries"
    # The lowest values and their colours, in ascending order. Below the first one, the colour is green.
    thresholds: list[tuple[float, str]] = field(default_factory=list)
    stacked: bool = False

    def json(self, number: int, at: tuple[int, int], width: int) -> dict:
        """Returns the panel as JSON: its number, its position on the grid, its width in columns."""
        steps: list[dict[str, str | float | None]] = [{"color": "green", "value": None}]
        steps += [{"color": colour, "value": value} for value, colour in self.thresholds]
        custom = {"fillOpacity": 10, "showPoints": "never"}
        if self.stacked:
            custom["stacking"] = {"mode": "normal"}
        if self.thresholds and self.kind == "timeseries":
            custom["thresholdsStyle"] = {"mode": "line"}
        defaults: dict = {"unit": self.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
        if self.kind == "timeseries":
            options: dict = {
                "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
            defaults["custom"] = custom
        else:
            options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}
        panel = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "datasource": SOURCE,
            "gridPos": {"x": at[0], "y": at[1], "w": width, "h": HEIGHT if self.kind == "timeseries" else 4},
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "options": options,
            "targets": [
                {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
                for i, (expression, legend) in enumerate(self.queries)
            ],
        }
        if self.description:
            panel["description"] = self.description
        return panel


@dataclass(frozen=True)
class Dashboard:
    """A dashboard of titled rows. The panels of a row have equal widths."""

    uid: str
    title: str
    description: str
    rows: list[tuple[str, list[Panel]]]

    def json(self) -> str:
        """Returns the dashboard's file."""
        panels: list[dict] = []
        y = 0
        for title, row in self.rows:
            panels.append(
                {
                    "id": len(panels) + 1,
                    "type": "row",
                    "title": title,
                    "collapsed": False,
                    "panels": [],
                    "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
                }
            )
            y += 1
            width = WIDTH // len(row)
            for i, panel in enumerate(row):
                panels.append(panel.json(len(panels) + 1, (i * width, y), width))
            y += max(panel["gridPos"]["h"] for panel in panels[-len(row) :])
        dashboard = {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["gists"],
            "timezone": "browser",
            "editable": False,
            "graphTooltip": 1,
            "refresh": "30s",
            "schemaVersion": SCHEMA,
            "time": {"from": "now-3h", "to": "now"},
            "templating": {"list": variables()},
            "links": [{"type": "dashboards", "tags": ["gists"], "title": "gists", "asDropdown": True, "includeVars": True}],
            "panels": panels,
        }
        return json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"

    def expressions(self) -> list[str]:
        """Returns the expressions of all panels."""
        return [expression for _, row in self.rows for panel in row for expression, _ in panel.queries]


def variables() -> list[dict]:
    """Returns the variables that users choose above the panels."""
    query = 'label_values(wasi_http_host_build_info{job="github-gists-api"}, namespace)'
    return [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
        {
            "name": "namespace",
            "type": "query",
            "label": "Namespace",
            "datasource": SOURCE,
            "query": {"query": query, "refId": "namespace"},
            "definition": query,
            "refresh": 2,
            "sort": 1,
            "includeAll": True,
            "multi": True,
            "allValue": ".+",
            "current": {"text": "All", "value": "$__all"},
        },
    ]
