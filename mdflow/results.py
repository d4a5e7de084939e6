"""What a prediction leaves on disk: flow files, occlusion maps, and pictures as PNG files or a video."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import av
import numpy as np

from mdflow.data.io import write_flow, write_image
from mdflow.data.pixels import whole_or_gone
from mdflow.directions import BothDirections
from mdflow.errors import InputError
from mdflow.visualize import flow_to_colour, occlusion_image, panel, typical_speed

SCALE_MEMORY = 0.95
"""How much of its colour scale a sequence keeps a frame: colours change slowly instead of flickering."""


def make_folder(path: Path) -> None:
    """Make a folder and those above it; InputError when that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder '{path}' cannot be made: {error.strerror}.") from error


def following_scale(flow: np.ndarray, before: float) -> float:
    """The speed in pixels that has full colour in the next picture of a sequence; `before` is the last one's."""
    return max(typical_speed(flow), SCALE_MEMORY * before)


class Pictures(Protocol):
    """Where pictures of one kind go."""

    def write(self, name: str, picture: np.ndarray) -> None:
        """Add one picture."""

    def close(self) -> None:
        """Finish the file."""


class PngFolder:
    """Pictures as folder/NAME.png."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self.folder = folder

    def write(self, name: str, picture: np.ndarray) -> None:
        """Write folder/name.png."""
        write_image(self.folder / f"{name}.png", picture)

    def close(self) -> None:
        """Nothing stays open."""


class VideoFile:
    """Pictures as the frames of an .mp4 (H.264; the last row or column is doubled where a size is odd)."""

    def __init__(self, path: Path, rate: float) -> None:
        self.path = path
        with self._says_why_not():
            path.open("wb").close()  # FFmpeg itself would notice at the first frame only
            self.container = av.open(
                str(path.absolute()), "w"
            )  # FFmpeg takes what stands before a colon for a protocol
        self.stream = self.container.add_stream("libx264", Fraction(rate).limit_denominator(1001))
        self.stream.options = {"crf": "18"}
        self.stream.pix_fmt = "yuv420p"

    def write(self, name: str, picture: np.ndarray) -> None:
        """Add one frame."""
        height, width = picture.shape[:2]
        even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if not self.stream.codec_context.is_open:
            self.stream.height, self.stream.width = even.shape[:2]
        with self._says_why_not(), whole_or_gone(self.path):
            self.container.mux(self.stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))

    def close(self) -> None:
        """Write what the encoder still holds."""
        with self._says_why_not(), whole_or_gone(self.path):
            self.container.mux(self.stream.encode())
            self.container.close()

    @contextmanager
    def _says_why_not(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(f"{self.path} cannot be written: {error.strerror}.") from error


class Results:
    """A folder of results, to be used in a `with` statement.

    FOLDER/flow/NAME.flo and colour/NAME.png, or colour.mp4 with a `rate` in frames a second; with the
    backward flow also flow_backward/, colour_backward, occlusion1/ and occlusion2/ (white where frame 1 or
    2 is occluded in the other), and figure: frames, flows and occlusions of both directions. `form` is the
    flow files' suffix without the dot, or None for pictures only; `scale` the speed in pixels that has full
    colour, by default that of 99 % of the pixels, following the sequence slowly.
    """

    def __init__(self, folder: Path, form: str | None, rate: float | None, scale: float | None) -> None:
        self.folder = folder
        self.form = form
        self.rate = rate
        self.fixed_scale = scale
        self.scale = 0.0
        self.pictures: dict[str, Pictures] = {}
        self.open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.open.close()

    def write_forward(self, name: str, flow12: np.ndarray) -> np.ndarray:
        """Write the forward flow (H,W,2) of a pair; return its picture."""
        self.scale = self.fixed_scale or following_scale(flow12, self.scale)
        return self._write_flow("", name, flow12)

    def write_both(self, name: str, image1: np.ndarray, image2: np.ndarray, both: BothDirections) -> None:
        """Write the flows and occlusions of a pair, and the figure of all."""
        colour12 = self.write_forward(name, both.flow12)
        colour21 = self._write_flow("_backward", name, both.flow21)
        occlusion1, occlusion2 = occlusion_image(both.visible1), occlusion_image(both.visible2)
        if self.form:
            self._add("occlusion1", name, occlusion1[..., 0], as_files=True)
            self._add("occlusion2", name, occlusion2[..., 0], as_files=True)
        rows = [[image1, colour12, occlusion1], [image2, colour21, occlusion2]]
        labels = [
            ["frame 1", f"flow 1 to 2, full colour {self.scale:.1f} px", "occluded in frame 2"],
            ["frame 2", "flow 2 to 1", "occluded in frame 1"],
        ]
        self._add("figure", name, panel(rows, labels))

    def _write_flow(self, direction: str, name: str, flow: np.ndarray) -> np.ndarray:
        if self.form:
            folder = self.folder / f"flow{direction}"
            make_folder(folder)
            write_flow(folder / f"{name}.{self.form}", flow)
        colour = flow_to_colour(flow, self.scale)
        self._add(f"colour{direction}", name, colour)
        return colour

    def _add(self, kind: str, name: str, picture: np.ndarray, as_files: bool = False) -> None:
        if kind not in self.pictures:
            path = self.folder / kind
            files = as_files or not self.rate
            self.pictures[kind] = PngFolder(path) if files else VideoFile(path.with_suffix(".mp4"), self.rate)
            self.open.callback(self.pictures[kind].close)
        self.pictures[kind].write(name, picture)
