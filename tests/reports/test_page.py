import base64
import re

import cv2
import numpy as np
import pytest

from mdflow.errors import InputError
from mdflow.reports import page


def test_texts_are_escaped():
    made = page.page("a & b", "<lead>", [page.section("<s>", page.note("<n>"), page.command_line("x < y"))])
    assert not set(re.findall(r"<(lead|s|n)>", made))
    assert "a &amp; b" in made and "x &lt; y" in made


def test_a_picture_travels_inside_the_page():
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, :30, 0] = 255
    content = re.search(r"base64,([^\"]+)", page.picture(image, "half red")).group(1)
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(shown.astype(int) - image)[:, [5, 50]].max() < 12


def test_the_marked_line_of_a_table_stands_out():
    rows = re.findall(r"<tr[^>]*>.*?</tr>", page.table(["a", "b"], [["x", "1"], ["y", "2"]], marked=1))
    assert ["marked" in row for row in rows] == [False, False, True]


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(InputError, match="Cannot write the report"):
        page.write_page(tmp_path / "missing" / "report.html", "")
