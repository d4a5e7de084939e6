"""Frames of videos as PNG files, for `--set data.synthetic.textures=FOLDER`: evenly spread over each video.

python scripts/video_textures.py FOLDER VIDEO [VIDEO ...] [--frames 16]
"""

import argparse
from pathlib import Path

import numpy as np

from mdflow.data.io import write_image
from mdflow.data.video import Video


def main() -> None:
    """Write the frames."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--frames", type=int, default=16, help="frames from each video")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for path in arguments.videos:
        video = Video(path)
        for number in np.linspace(0, len(video) - 1, arguments.frames).astype(int):
            write_image(arguments.folder / f"{path.stem}_{number:05d}.png", video[int(number)])


if __name__ == "__main__":
    main()
