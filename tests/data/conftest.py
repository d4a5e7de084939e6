"""What the tests of datasets write: images, flows and videos of a few pixels."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mdflow.data.io import write_flow, write_image

HEIGHT, WIDTH = 6, 8


@pytest.fixture
def put(tmp_path):
    """put(path, value=0, scale=1): a constant image, mask or flow file below tmp_path, folders included."""

    def write(name: str, value: float = 0, scale: int = 1) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".flo", ".pfm", ".flo5") or "flow_" in path.parent.name:
            write_flow(path, np.full((HEIGHT * scale, WIDTH * scale, 2), value, np.float32))
        else:
            write_image(path, np.full((HEIGHT * scale, WIDTH * scale, 3), value, np.uint8))
        return path

    return write


def counted(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A frame that shows its number in binary, in eight bars that survive any codec."""
    bars = np.array([255 * (number >> bit & 1) for bit in range(8)], np.uint8)
    return np.repeat(np.repeat(bars[None, :, None], height, 0), -(-width // 8), 1)[:, :width].repeat(3, 2)


def number_of(frame: np.ndarray) -> int:
    """The number that a counted frame shows."""
    edges = np.linspace(0, frame.shape[1], 9)
    middles = ((edges[:-1] + edges[1:]) / 2).astype(int)
    return sum(int(frame[frame.shape[0] // 2, x].mean() > 128) << bit for bit, x in enumerate(middles))


def encode(path: Path, frames, times=None, codec: str = "libx264", rate: int = 25, **options: str) -> Path:
    """Write frames (H,W,3) uint8 as a video; times in milliseconds, default a constant rate."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        odd = stream.height % 2 or stream.width % 2
        stream.pix_fmt = "yuv444p" if odd else "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = options
        # The encoder may be freed in a forked worker later, where it would wait for threads that are not there.
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, 1000) if times is not None else Fraction(1, rate)
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number if times is None else int(times[number])
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
