"""Line charts as inline SVG, for pages that must not load anything."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 14, 42
COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626", "#475569")

Point = tuple[float, float]


class Line(NamedTuple):
    """A named line through points (x, y); lines with one `colour` (a place in COLOURS) belong together."""

    name: str
    points: Sequence[Point]
    colour: int = 0


def line_chart(lines: Sequence[Line], x_label: str, y_label: str, levels: Mapping[str, float] | None = None) -> str:
    """An <svg> of the lines, with horizontal dashed `levels` by name; points that are not finite are left out.

    Without any point it says that there is nothing to show.
    """
    levels = {name: value for name, value in (levels or {}).items() if math.isfinite(value)}
    lines = [line._replace(points=[point for point in line.points if all(map(math.isfinite, point))]) for line in lines]
    points = [point for line in lines for point in line.points]
    if not points:
        return '<p class="note">Nothing to draw yet.</p>'
    x_ticks = ticks(*bounds([x for x, _ in points]))
    y_ticks = ticks(*bounds([*(y for _, y in points), *levels.values()]))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    pieces = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(y_label)} over {escape(x_label)}">']
    for y in y_ticks:
        _, down = place(x_ticks[0], y)
        pieces.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{down:.1f}" y2="{down:.1f}"/>')
        pieces.append(f'<text x="{LEFT - 8}" y="{down + 4:.1f}" text-anchor="end">{y:g}</text>')
    below = f'y="{HEIGHT - BOTTOM + 18}" text-anchor="middle"'
    pieces += [f'<text x="{place(x, y_ticks[0])[0]:.1f}" {below}>{x:g}</text>' for x in x_ticks]
    for name, value in levels.items():
        _, down = place(x_ticks[0], value)
        pieces.append(f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{down:.1f}" y2="{down:.1f}"/>')
        pieces.append(f'<text x="{WIDTH - RIGHT}" y="{down - 5:.1f}" text-anchor="end">{escape(name)}</text>')
    pieces += [drawn(line, [place(*point) for point in line.points]) for line in lines if line.points]
    pieces.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>')
    return "".join(pieces) + "</svg>" + legend(lines)


def drawn(line: Line, places: Sequence[Point]) -> str:
    """The line, with a dot at each point while there are few."""
    colour = COLOURS[line.colour % len(COLOURS)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places)
    return f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>' + (
        dots if len(places) <= 40 else ""
    )


def legend(lines: Sequence[Line]) -> str:
    """The names beside their colours, each colour once."""
    names = {line.colour: line.name for line in reversed(lines) if line.points}
    keys = "".join(
        f'<span><i style="background:{COLOURS[colour % len(COLOURS)]}"></i>{escape(name)}</span>'
        for colour, name in sorted(names.items())
    )
    return f'<p class="legend">{keys}</p>'


def bounds(values: Sequence[float]) -> tuple[float, float]:
    """The range of the values, never empty."""
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers from at most `low` to at least `high`: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]
