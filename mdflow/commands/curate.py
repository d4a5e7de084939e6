"""Choose what of videos is worth learning from: shots, without what is blank, still or repeated."""

import argparse
import math
from dataclasses import replace
from pathlib import Path

from mdflow.data import known_layout
from mdflow.data.curation.curate import Curation, Rules, curate
from mdflow.data.curation.curated import extract, require_new
from mdflow.data.files import list_folders, list_images
from mdflow.data.pixels import IMAGE_SUFFIXES
from mdflow.data.videos import list_videos
from mdflow.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `mdflow curate`."""
    parser.add_argument("sources", nargs="+", type=Path, metavar="VIDEO", help="videos, folders of videos or frames")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="give this folder to --data")
    parser.add_argument(
        "--motion",
        nargs=2,
        type=float,
        default=Rules.motion,
        metavar=("LOW", "HIGH"),
        help="the pixels that a shot's median motion should have; its step follows ({:g} {:g})".format(*Rules.motion),
    )
    parser.add_argument("--largest-step", type=int, default=Rules.largest_step, metavar="N", help="(%(default)s)")


def run(arguments: argparse.Namespace) -> None:
    """Curate, write frames, pairs, reports and contact sheets, and print the figures."""
    low, high = arguments.motion
    if not 0 <= low < high < math.inf or arguments.largest_step < 1:
        raise InputError(f"The range of motion {low} to {high} or the largest step is wrong; expected 0 <= LOW < HIGH.")
    rules = replace(Rules(), motion=(low, high), largest_step=arguments.largest_step)
    clips = [clip for source in arguments.sources for clip in clips_of(source)]
    require_new(arguments.out, clips)
    curations = curate_all(clips, rules)
    extract(curations, arguments.out)
    pairs = sum(len(curation.pairs) for curation in curations)
    print(f"{pairs} pairs of {len(curations)} clip(s) in {arguments.out}; look at the contact sheets there.")


def clips_of(source: Path) -> list[Path]:
    """The clips at a path: itself when it is a file or a folder of frames, else the videos and folders of frames in it.

    Images beside videos are no frames of a clip.
    """
    if not source.exists():
        raise InputError(f"{source} does not exist; expected a video, a folder of videos, or a folder of frames.")
    if source.is_file() and source.suffix.lower() in IMAGE_SUFFIXES:
        raise InputError(f"{source} is a single image; expected a video, a folder of videos, or a folder of frames.")
    videos = list_videos(source)
    if list_images(source) and not videos:
        return [source]
    folders = [path for path in list_folders(source) if list_images(path) and known_layout(path) == "frames"]
    if not folders + videos:
        raise InputError(f"{source} holds no video and no image; expected videos or frames.")
    return folders + videos


def curate_all(clips: list[Path], rules: Rules) -> list[Curation]:
    """Curate each clip and print its figures; say which of several cannot be used."""
    curations, refused = [], []
    for clip in clips:
        try:
            curations.append(curate(clip, rules))
            print(curations[-1].summary(), flush=True)
        except InputError as error:
            refused.append(str(error))
            print(f"left out: {error}", flush=True)
    if not curations:
        raise InputError(refused[0] if len(refused) == 1 else f"None of {len(refused)} clips can be used.")
    return curations
