"""Draws the curves as an SVG."""

from __future__ import annotations

import math

WIDTH, HEIGHT, MARGIN = 300, 220, 48
COLOURS = {"native axum": "#888888", "this host": "#6a5acd"}


def svg(curves: dict) -> str:
    """Returns one panel for each curve: thousands of requests a second over a logarithmic axis."""
    width = WIDTH * len(curves)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT + 24}" font-family="sans-serif" font-size="10">']
    parts.append(f'<rect width="{width}" height="{HEIGHT + 24}" fill="white"/>')
    for index, (axis, points) in enumerate(curves.items()):
        parts.append(f'<g transform="translate({index * WIDTH} 0)">')
        parts += panel(axis, points)
        parts.append("</g>")
    for index, (name, colour) in enumerate(COLOURS.items()):
        parts.append(f'<text x="{MARGIN + index * 110}" y="{HEIGHT + 18}" fill="{colour}">■ {name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def panel(axis: str, points: dict) -> list[str]:
    xs = [float(x) for x in points]
    most = max(cell["per_second"] for cells in points.values() for cell in cells.values()) * 1.05
    low, high = math.log10(min(xs)), math.log10(max(xs))

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - low) / ((high - low) or 1)
        return MARGIN + across * (WIDTH - MARGIN - 20), HEIGHT - MARGIN - y / most * (HEIGHT - MARGIN - 24)

    bottom = HEIGHT - MARGIN
    parts = [f'<text x="{MARGIN}" y="14" font-size="11">1,000 requests a second, by {axis}</text>']
    parts.append(f'<path d="M{MARGIN} 24V{bottom}H{WIDTH - 20}" fill="none" stroke="black" stroke-width="0.7"/>')
    for x in xs:
        left, _ = at(x, 0)
        parts.append(f'<text x="{left:.1f}" y="{bottom + 14}" text-anchor="middle">{x:,.0f}</text>')
    for share in (0.25, 0.5, 0.75, 1):
        _, top = at(xs[0], most / 1.05 * share)
        parts.append(f'<text x="{MARGIN - 5}" y="{top + 3:.1f}" text-anchor="end">{most / 1.05 * share / 1000:.1f}</text>')
    for name, colour in COLOURS.items():
        line = [at(float(x), cells[name]["per_second"]) for x, cells in points.items() if name in cells]
        path = " ".join(f"{left:.1f},{top:.1f}" for left, top in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        parts += [f'<circle cx="{left:.1f}" cy="{top:.1f}" r="2.5" fill="{colour}"/>' for left, top in line]
    return parts
