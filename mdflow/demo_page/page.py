"""The page in a browser: only what is where, and what calls what; the work is the desk's (needs the extra demo)."""

import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gradio
from starlette.middleware import Middleware

from mdflow.demo_page.desk import Desk, Networks, Wish, made_up_images
from mdflow.demo_page.guard import LOOPBACK, Guard
from mdflow.demo_page.upload import check_size
from mdflow.demo_page.viewing import Viewing
from mdflow.errors import InputError

VIEWER = Path(__file__).parent / "viewer"
NOTHING = "nothing"
SIDES = [256, 384, 512, 768, 1024]
SECONDS_BETWEEN_VIEWS = 0.7
KEEP_SECONDS = 3600
GREETING = "# mdflow\nSee what moves where: drop a video or some images, and choose a network."
STYLE = """
.gradio-container { max-width: 1500px !important; }
#message { padding: 0 2px; } #message p { margin: 0; }
#message.wrong { padding: 10px 14px; border-radius: 8px; border-left: 4px solid #dc2626; background: #dc262614; }
footer { display: none !important; }
"""
SYSTEM = ("ui-sans-serif", "system-ui", "sans-serif")


@dataclass(frozen=True)
class Controls:
    """What a person can set and press."""

    files: gradio.File
    sample: gradio.Button
    network: gradio.Dropdown
    other: gradio.Dropdown
    first: gradio.Number
    count: gradio.Slider
    longest: gradio.Dropdown
    weights: gradio.File
    start: gradio.Button
    stop: gradio.Button


def build_page(desk: Desk) -> gradio.Blocks:
    """The page of a desk."""
    # Gradio would ask its makers' server for news and tell it of the launch.
    with gradio.Blocks(title="mdflow", analytics_enabled=False, delete_cache=(KEEP_SECONDS, KEEP_SECONDS)) as page:
        gradio.Markdown(GREETING)
        with gradio.Row():
            with gradio.Column(scale=1, min_width=290):
                controls = make_controls(list(desk.networks), desk.limits.frames)
            with gradio.Column(scale=4, min_width=480):
                message = gradio.Markdown("", elem_id="message")
                viewer = make_viewer(desk.limits.megabytes)
        wire(desk, controls, message, viewer)
    return page


def make_controls(names: list[str], frames: int) -> Controls:
    """The left column."""
    files = gradio.File(label="Video or images", file_count="multiple", height=170, elem_id="files")
    sample = gradio.Button("Try a made-up scene", size="sm", elem_id="sample")
    with gradio.Group():
        network = gradio.Dropdown(names, value=names[0], label="Network", elem_id="network")
        other = gradio.Dropdown([NOTHING, *names], value=NOTHING, label="Compare with", elem_id="other")
    with gradio.Accordion("Which frames, how large", open=False):
        first = gradio.Number(0, label="First frame", precision=0, minimum=0, elem_id="first")
        count = gradio.Slider(2, frames, min(Wish.count, frames), step=1, label="Frames", elem_id="count")
        longest = gradio.Dropdown(SIDES, value=Wish.longest, label="Longest side in pixels", elem_id="longest")
    with gradio.Accordion("Weights of your own", open=False):
        weights = gradio.File(label="A .safetensors file of mdflow", height=130, elem_id="weights")
    start = gradio.Button("Show the flow", variant="primary", elem_id="start")
    stop = gradio.Button("Stop", size="sm", elem_id="stop")
    return Controls(files, sample, network, other, first, count, longest, weights, start, stop)


def make_viewer(megabytes: int) -> gradio.HTML:
    """The viewer of the folder viewer, fed by its value; it also stops files above that size before they are sent."""
    nothing = "The frames, their flow, occlusion and confidence will stand here."
    return gradio.HTML(
        value={},
        html_template=f'<div class="stage"><div class="nothing">{nothing}</div></div>',
        css_template=(VIEWER / "viewer.css").read_text(),
        js_on_load=(VIEWER / "viewer.js").read_text(),
        apply_default_css=False,
        elem_id="viewer",
        megabytes=megabytes,
    )


def wire(desk: Desk, controls: Controls, message: gradio.Markdown, viewer: gradio.HTML) -> None:
    """Say what happens when something is dropped, chosen or pressed."""

    def too_large(event: gradio.EventData) -> dict:  # Gradio looks at the annotation, which a partial has not
        return refuse_large(desk, event.name, event.megabytes)

    brought = gradio.State({}, time_to_live=KEEP_SECONDS)
    shown = gradio.State(None, time_to_live=KEEP_SECONDS, delete_callback=desk.forget)
    wishes = [controls.files, controls.network, controls.other, controls.first, controls.count, controls.longest]
    # Private: the page is for people, and offers programs no interface.
    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    look = {"fn": partial(show_flow, desk), "inputs": [*wishes, brought, shown], "outputs": [viewer, message, shown]}
    controls.files.change(partial(greet, desk), controls.files, message, **quiet)
    made_up = controls.sample.click(partial(put_scene, desk), None, controls.files, **quiet)
    running = [controls.start.click(**look, **quiet), made_up.then(**look, **quiet)]
    controls.stop.click(lambda: say("Stopped; what is done stays."), None, message, cancels=running, **quiet)
    viewer.too_large(too_large, None, message, **quiet)
    controls.weights.upload(
        partial(bring_weights, desk),
        [controls.weights, brought],
        [controls.network, controls.other, brought, message],
        **quiet,
    )


def greet(desk: Desk, paths: list[str] | None) -> dict:
    """The message line when files were dropped or taken away."""
    if not paths:
        return say("")
    try:
        return say(desk.describe([Path(path) for path in paths]))
    except InputError as error:
        return say_error(error)


def refuse_large(desk: Desk, name: str, megabytes: float) -> dict:
    """The message line when the browser held a file back."""
    try:
        check_size(name, megabytes, desk.limits)
    except InputError as error:
        return say_error(error)
    return say("")


def put_scene(desk: Desk) -> list[str]:
    """The made-up scene as if it had been dropped."""
    folder = desk.folder / "scene"
    folder.mkdir(exist_ok=True)
    return [str(path) for path in made_up_images(folder)]


def bring_weights(desk: Desk, path: str, brought: Networks) -> tuple:
    """Both lists of networks, all that the person brought, and the message line."""
    try:
        name, network = desk.bring(Path(path), brought)
    except InputError as error:
        return gradio.skip(), gradio.skip(), gradio.skip(), say_error(error)
    brought = {**brought, name: network}
    names = [*desk.networks, *brought]
    lists = gradio.update(choices=names, value=name), gradio.update(choices=[NOTHING, *names])
    return *lists, brought, say(f"{name}: chosen as the network.")


def show_flow(
    desk: Desk,
    paths: list[str] | None,
    network: str,
    other: str,
    first: float | None,
    count: float,
    longest: int,
    brought: Networks,
    shown: Viewing | None,
) -> Iterator[tuple]:
    """The viewer's value, the message line and the view, again and again while pairs are added."""
    desk.forget(shown)
    networks = [network] if other in (NOTHING, network) else [network, other]
    wish = Wish([Path(path) for path in paths or []], networks, int(first or 0), int(count), int(longest))
    yield gradio.skip(), say("Reading the frames ..."), None
    view, started, told = None, time.monotonic(), 0.0
    try:
        for view in desk.look(wish, brought):
            now = time.monotonic()
            if view.finished or now - told > SECONDS_BETWEEN_VIEWS:
                told = now
                yield address(view), say(progress(view, now - started)), view
    except InputError as error:
        yield gradio.skip(), say_error(error), view


def say(text: str) -> dict:
    """The message line with a plain sentence."""
    return gradio.update(value=text, elem_classes=[])


def say_error(error: InputError) -> dict:
    """The message line with the sentence of an error."""
    # A file's name is the person's own text: it must not be taken for mark-up.
    sentence = str(error).replace("<", "&lt;").replace("_", r"\_").replace("*", r"\*")
    return gradio.update(value=sentence, elem_classes="wrong")


def address(view: Viewing) -> dict:
    """What the viewer shows, and where the server has its files (relative, so that a proxy may add a path)."""
    return {**view.describe(), "files": f"gradio_api/file={view.folder}"}


def progress(view: Viewing, seconds: float) -> str:
    """A sentence on how far it is."""
    done = len(view.pairs)
    size = f"{view.size[1]}×{view.size[0]} pixels, and vectors are in these pixels"
    if view.finished:
        return f"{done} pair(s) in {seconds:.0f} s. The frames are shown at {size}."
    return f"Pair {done} of {view.total} ..."


def serve(page: gradio.Blocks, desk: Desk, host: str, port: int | None) -> None:
    """Answer browsers until interrupted; InputError when the address cannot be used."""
    url = launch(page, desk, host, port)
    print(f"The page is at {url} (Ctrl+C ends it).", flush=True)
    if host not in LOOPBACK:
        print("Whoever can reach this machine can use it.", flush=True)
    # Asked to end (SIGTERM) it ends as by Ctrl+C: what was uploaded is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(1)
    page.close(verbose=False)


def launch(page: gradio.Blocks, desk: Desk, host: str, port: int | None) -> str:
    """Start the server in a thread of its own and return the page's address."""
    guard = Middleware(Guard, folder=desk.folder, local=host in LOOPBACK)
    theme = gradio.themes.Soft(
        font=[gradio.themes.Font(name) for name in SYSTEM], font_mono=gradio.themes.Font("monospace")
    )
    try:
        _, url, _ = page.queue(default_concurrency_limit=1).launch(
            server_name=host,
            server_port=port,
            share=False,
            prevent_thread_lock=True,
            quiet=True,
            show_error=True,
            inbrowser=False,
            ssr_mode=False,
            mcp_server=False,
            enable_monitoring=False,
            run_history=False,
            pwa=False,
            footer_links=[],
            allowed_paths=[str(desk.folder)],
            max_file_size=f"{desk.limits.megabytes}mb",
            app_kwargs={"middleware": [guard]},
            theme=theme,
            css=STYLE,
        )
    except OSError as error:
        at = f"{host}:{port}" if port else host
        raise InputError(f"The page cannot be served at {at}: {error}; choose another --port or --host.") from error
    return url
