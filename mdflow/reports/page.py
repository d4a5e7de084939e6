"""One self-contained HTML page: text, tables, charts and pictures, nothing loaded from elsewhere."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np

from mdflow.errors import InputError

QUALITY = 85
STYLE = """
:root { --ink: #0f172a; --pale: #64748b; --rule: #e2e8f0; --paper: #ffffff; --shade: #f8fafc; --mark: #eff6ff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e2e8f0; --pale: #94a3b8; --rule: #334155; --paper: #0f172a; --shade: #1e293b; --mark: #172554; }
}
body { max-width: 1040px; margin: 0 auto; padding: 40px 24px 80px; color: var(--ink); background: var(--paper);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 8px; }
h2 { font-size: 20px; margin: 44px 0 10px; }
.lead { font-size: 18px; color: var(--pale); margin: 0 0 20px; }
.note { color: var(--pale); font-size: 14px; }
pre { background: var(--shade); border: 1px solid var(--rule); border-radius: 8px; padding: 12px 16px;
  overflow-x: auto; font-size: 14px; }
table { border-collapse: collapse; width: 100%; font-size: 15px; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 10px; border-bottom: 1px solid var(--rule); text-align: right; }
th { color: var(--pale); font-weight: 600; font-size: 13px; }
th:first-child, td:first-child { text-align: left; }
tr.marked td { background: var(--mark); font-weight: 600; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--pale); font: 12px system-ui, sans-serif; }
svg .grid { stroke: var(--rule); }
svg .level { stroke: var(--pale); stroke-dasharray: 5 4; }
.legend span { margin-right: 18px; font-size: 14px; color: var(--pale); white-space: nowrap; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; }
figure { margin: 18px 0; }
figure img { width: 100%; height: auto; border-radius: 6px; display: block; background: #fff; }
figcaption { font-size: 14px; color: var(--pale); margin-top: 6px; }
"""


def page(title: str, lead: str, body: Sequence[str]) -> str:
    """The whole document; `body` is HTML already, title and lead are plain text."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f'<h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>' + "\n".join(body) + "</body></html>\n"
    )


def section(title: str, *body: str) -> str:
    """A heading and the HTML below it."""
    return f"<h2>{escape(title)}</h2>" + "".join(body)


def note(text: str) -> str:
    """A small paragraph of plain text."""
    return f'<p class="note">{escape(text)}</p>'


def command_line(text: str) -> str:
    """A command, as one types it."""
    return f"<pre>{escape(text)}</pre>"


def table(heading: Sequence[str], lines: Sequence[Sequence[str]], marked: int | None = None) -> str:
    """Plain texts as a table; the line of number `marked` stands out."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heading)
    rows = "".join(
        f"<tr{' class=marked' if number == marked else ''}>{''.join(f'<td>{escape(text)}</td>' for text in line)}</tr>"
        for number, line in enumerate(lines)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def picture(image: np.ndarray, caption: str) -> str:
    """An (H,W,3) uint8 RGB picture inside the page, as JPEG."""
    _, content = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    data = base64.b64encode(content.tobytes()).decode()
    return (
        f'<figure><img src="data:image/jpeg;base64,{data}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def write_page(path: Path, text: str) -> None:
    """Write the page; InputError when that fails."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"Cannot write the report '{path}': {error.strerror}.") from error
