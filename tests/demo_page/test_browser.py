"""The page as a person meets it: in a browser without a window. Skipped where Gradio or a browser is missing."""

import importlib.util
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from mdflow.checkpoint import save_network
from mdflow.data.io import read_flow, write_image
from mdflow.data.video import Video
from mdflow.networks import create
from tests.pictures import shifted_pair

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MISSING = [name for name in ("gradio", "playwright") if importlib.util.find_spec(name) is None]
MISSING += [] if BROWSER else ["Chromium"]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (extras demo, browser)")
SHIFT = (4, -3)
PATIENCE = 120_000
"""Milliseconds: a machine may be busy."""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page's address; its server is a process of its own, asked to end afterwards."""
    temporary = tmp_path_factory.mktemp("temporary")
    command = [sys.executable, "-m", "mdflow", "demo", "--network", "dis", "--network", "fastflownet"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(temporary)})
    line = server.stdout.readline()
    yield line.removeprefix("The page is at ").partition(" ")[0]
    server.terminate()
    assert server.wait(timeout=60) == 0
    assert not list(temporary.iterdir()), "the page left files behind"


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # The sandbox of the browser does not work for root.
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """The page, freshly opened; afterwards nothing may have been asked of another server."""
    page = browser.new_page(viewport={"width": 1400, "height": 1100})
    page.set_default_timeout(PATIENCE)
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(error))  # Playwright cannot mark a built-in
    page.goto(address)
    page.wait_for_selector("#viewer .nothing")
    yield page
    page.close()
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert errors == []


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> list[str]:
    """Four frames of a texture that moves by SHIFT."""
    folder = tmp_path_factory.mktemp("frames")
    wide = shifted_pair(0, 0, 160, 220)[0][0].permute(1, 2, 0).mul(255).round().byte().numpy()
    for number in range(4):
        left, top = 30 - number * SHIFT[0], 30 - number * SHIFT[1]
        write_image(folder / f"frame{number}.png", np.ascontiguousarray(wide[top : top + 96, left : left + 144]))
    return [str(path) for path in sorted(folder.iterdir())]


def drop(page, paths: list[str], where: str = "files") -> None:
    page.set_input_files(f"#{where} input[type=file]", paths)


def wait_for_message(page, text: str) -> str:
    """The message line once it contains the text."""
    page.wait_for_selector(f"#message :text({text!r})")
    return page.inner_text("#message")


def choose(page, where: str, name: str) -> None:
    page.click(f"#{where} input")
    page.locator(f'[role="option"]:has-text("{name}")').first.click()


def show_flow(page, paths: list[str]) -> None:
    drop(page, paths)
    wait_for_message(page, "frames of")
    page.click("#start")
    wait_for_message(page, "pair(s) in")


def save(page, text: str, folder: Path) -> Path:
    """Press a download link; the file's path."""
    with page.expect_download() as download:
        page.locator("#viewer a.button", has_text=text).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_frames_are_dropped_flow_is_seen_and_downloaded(page, images, tmp_path):
    show_flow(page, images)
    pictures = page.locator("#viewer .picture")
    assert pictures.count() == 4
    before = pictures.nth(0).screenshot(), pictures.nth(1).screenshot()
    assert before[0] != before[1]
    page.locator("#viewer input[type=range]").fill("2")
    page.wait_for_selector("#viewer output:text('pair 3 of 3')")
    page.wait_for_function("document.querySelector('#viewer .picture img').src.includes('frame2.jpg')")
    page.wait_for_timeout(300)
    assert pictures.nth(0).screenshot() != before[0]
    flow, _ = read_flow(save(page, "Flow (.flo)", tmp_path))
    assert flow.shape == (96, 144, 2)
    assert np.abs(np.median(flow[16:-16, 16:-16], axis=(0, 1)) - SHIFT).max() < 0.2
    film = save(page, "Film (.mp4)", tmp_path)
    assert film.name == "frame0_dis.mp4"
    assert len(Video(film)) == 3


def test_the_vector_is_read_under_the_pointer_and_held_by_a_click(page, images):
    show_flow(page, images)
    picture = page.locator("#viewer .picture").nth(0)
    box = picture.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#viewer .label")
    dx, dy = (float(cell.replace("−", "-")) for cell in page.locator("#viewer tbody td").all_inner_texts()[1:3])
    assert (dx, dy) == pytest.approx(SHIFT, abs=0.5)
    assert "x 72, y 48" in page.inner_text("#viewer .hint")
    page.mouse.down()
    page.mouse.up()
    page.mouse.move(5, 5)
    assert page.locator("#viewer .label").count() == 1


def test_two_networks_stand_side_by_side(page, images, tmp_path):
    choose(page, "other", "fastflownet")
    show_flow(page, images)
    assert page.locator("#viewer .picture").count() == 9
    assert [text.split("\t")[0] for text in page.locator("#viewer tbody tr").all_inner_texts()] == [
        "dis",
        "fastflownet",
    ]
    box = page.locator("#viewer .picture").nth(0).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#viewer .label")
    label = page.locator("#viewer .label").bounding_box()
    assert box["x"] <= label["x"] and label["x"] + label["width"] <= box["x"] + box["width"], "the vector is cut off"
    names = [save(page, f".flo, {name}", tmp_path).name for name in ("dis", "fastflownet")]
    assert names == ["frame0_dis_frame0.flo", "frame0_fastflownet_frame0.flo"]


def test_weights_can_be_brought(page, images, tmp_path):
    save_network(tmp_path / "mine.safetensors", create("fastflownet"))
    (tmp_path / "mine.pth").write_bytes(b"no matter what")
    page.click("text=Weights of your own")
    drop(page, str(tmp_path / "mine.pth"), "weights")
    wait_for_message(page, "mine.pth is no .safetensors file")
    page.locator("#weights button[aria-label*='lear'], #weights button[aria-label*='emove']").first.click()
    drop(page, str(tmp_path / "mine.safetensors"), "weights")
    wait_for_message(page, "fastflownet, mine: chosen")
    show_flow(page, images[:2])
    assert page.locator("#viewer tbody td").first.inner_text() == "fastflownet, mine"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("notes.txt", "notes.txt is neither a video nor an image; drop a video"),
        ("text.mp4", "text.mp4 cannot be opened as a video"),
        ("one.png", "one.png is one frame only, and motion needs two"),
        ("huge.mp4", "huge.mp4 has 2000 MB, and this page takes up to 500 MB"),
    ],
)
def test_errors_are_sentences_on_the_page(page, tmp_path, name, sentence):
    path = tmp_path / name
    if name == "huge.mp4":
        with path.open("wb") as file:
            file.truncate(2 * 10**9)
    elif name == "one.png":
        write_image(path, np.zeros((20, 30, 3), np.uint8))
    else:
        path.write_text("some notes")
    drop(page, str(path))
    assert wait_for_message(page, sentence).startswith(sentence)


def test_showing_nothing_says_what_to_do(page):
    page.click("#start")
    wait_for_message(page, "drop a video, or two or more images")


def status(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_server_gives_nothing_outside_its_folder(address):
    assert status(address) == 200
    assert status(f"{address}gradio_api/file={Path(__file__).resolve()}") == 403
    assert status(f"{address}gradio_api/file=/etc/hostname") == 403
    assert status(f"{address}gradio_api/file=https://example.org") == 403
    assert status(address, Host="elsewhere.example") == 403
