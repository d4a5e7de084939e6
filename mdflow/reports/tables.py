"""Figures of evaluations as text tables for people."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Column(NamedTuple):
    """A figure in a table: its key, its heading and its format."""

    key: str
    heading: str
    form: str


ERRORS = (
    Column("pairs", "pairs", "d"),
    Column("epe", "EPE", ".3f"),
    Column("fl", "Fl-all %", ".2f"),
    Column("over1", ">1px %", ".2f"),
    Column("over3", ">3px %", ".2f"),
    Column("over5", ">5px %", ".2f"),
    Column("epe_matched", "EPE matched/noc", ".3f"),
    Column("fl_matched", "Fl matched/noc %", ".2f"),
    Column("epe_unmatched", "EPE unmatched", ".3f"),
)
REGIONS = (
    *(
        Column(f"epe_{band}", f"EPE {band}", ".3f")
        for band in ("s0-10", "s10-40", "s40+", "d0-10", "d10-60", "d60-140")
    ),
    Column("fl_bg", "Fl-bg %", ".2f"),
    Column("fl_fg", "Fl-fg %", ".2f"),
)
LABEL_FREE = (
    Column("label_free_pairs", "pairs", "d"),
    Column("score", "score", ".3f"),
    Column("census", "census", ".3f"),
    Column("consistency", "consistency px", ".3f"),
    Column("visible", "visible %", ".2f"),
    Column("hidden", "hidden px", ".3f"),
)

Row = tuple[Sequence[str], Mapping[str, float]]


def figure_table(heads: Sequence[str], rows: Sequence[Row], columns: Sequence[Column] = ERRORS) -> str:
    """Text table: under `heads` each row's labels, then its figures.

    Columns that no row has and rows that have no column are left out; an empty string when nothing is left. A
    figure that not every pair of its set has is followed by the number of pairs that do.
    """
    used = [column for column in columns if any(column.key in figures for _, figures in rows)]
    lines = [
        [*labels, *(_cell(figures, column) for column in used)]
        for labels, figures in rows
        if any(column.key in figures for column in used)
    ]
    return text_table([*heads, *(column.heading for column in used)], lines, len(heads)) if lines else ""


def text_table(heading: Sequence[str], lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """Aligned columns under a rule, the first `left` of them to the left, the others to the right."""
    widths = [max(len(line[i]) for line in [heading, *lines]) for i in range(len(heading))]

    def aligned(line: Sequence[str]) -> str:
        cells = (
            text.ljust(width) if i < left else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    return "\n".join([aligned(heading), "-" * (sum(widths) + 2 * len(widths) - 2), *map(aligned, lines)])


def _cell(figures: Mapping[str, float], column: Column) -> str:
    if column.key not in figures:
        return "-"
    _, _, region = column.key.partition("_")
    having = figures.get(f"pairs_{region}")
    note = f" ({having})" if having is not None and having != figures["pairs"] else ""
    return format(figures[column.key], column.form) + note
