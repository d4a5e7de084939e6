import math
import xml.etree.ElementTree as ElementTree

import pytest

from mdflow.reports.chart import Line, line_chart, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (10.2, 16.9, [10, 12, 14, 16, 18]),
        (-0.03, 0.041, [-0.04, -0.02, 0, 0.02, 0.04, 0.06]),
        (3, 400, [0, 100, 200, 300, 400]),
    ],
)
def test_ticks_are_round_and_hold_the_range(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def svg_of(chart: str) -> ElementTree.Element:
    return ElementTree.fromstring(chart[: chart.index("</svg>") + 6])


def test_higher_values_stand_higher_and_later_ones_further_right():
    chart = svg_of(line_chart([Line("a", [(0, 1.0), (10, 3.0)])], "step", "score", {"start": 2.0}))
    (x1, y1), (x2, y2) = (map(float, pair.split(",")) for pair in chart.find("polyline").attrib["points"].split())
    assert x1 < x2
    assert y1 > y2
    level = next(line for line in chart.findall("line") if line.attrib["class"] == "level")
    assert float(level.attrib["y1"]) == pytest.approx((y1 + y2) / 2, abs=0.2)


def test_names_are_escaped_and_each_colour_is_named_once():
    chart = line_chart([Line("a<b", [(0, 1), (1, 2)]), Line("a<b", [(2, 1)])], "x", "y")
    assert chart.count("a&lt;b") == 1


def test_what_is_not_finite_is_left_out():
    chart = svg_of(line_chart([Line("a", [(0, 1.0), (1, math.nan), (2, 2.0)])], "x", "y", {"gone": math.inf}))
    assert len(chart.find("polyline").attrib["points"].split()) == 2
    assert "Nothing to draw" in line_chart([Line("a", [(0, math.nan)])], "x", "y")
