"""Video files, with no labels."""

import logging
from collections import Counter, OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdflow.data.curation.curate import curate as curate_clip
from mdflow.data.files import entries, list_folders, natural
from mdflow.data.parts import locate, stretches
from mdflow.data.sample import Sample
from mdflow.data.video import VIDEO_SUFFIXES, Video
from mdflow.errors import InputError

OPEN_AT_ONCE = 8
NEIGHBOURS = 32

log = logging.getLogger(__name__)


@dataclass
class Clip:
    """A video, its pairs (n,2) of frame numbers, and the rows and columns of the picture that count."""

    video: Video
    pairs: np.ndarray
    crop: tuple[slice, slice] = (slice(None), slice(None))


class Videos:
    """Frames `step` apart of one video file, or of every video in a folder or its folders.

    A file of a folder that is no video, or has too few frames, is left out with a warning and listed in
    `left_out` (path to reason); a single file raises InputError. With `curate` each is surveyed first and
    only the pairs that mdflow.data.curation.curate chooses are given, cropped. At most OPEN_AT_ONCE files are open.
    Random access within one video is slow (a key frame is often 250 frames away); `runs` names the
    stretches whose pairs should be read near one another (mdflow.data.order).
    """

    name = "video"

    def __init__(self, root: Path | str, step: int = 1, curate: bool = False):
        self.root = Path(root)
        self.base = self.root.parent if self.root.is_file() else self.root
        if step < 1:
            raise InputError(f"The step between the frames of {root} is {step}; expected 1 or more.")
        if curate and step > 1:
            raise InputError(f"Curation chooses the step between the frames of {root} itself; leave one of both out.")
        self.left_out: dict[Path, str] = {}
        self.clips: list[Clip] = []
        for path in list_videos(self.root):
            try:
                self.clips.append(curated_clip(path) if curate else whole_clip(path, step))
            except InputError as error:
                if path == self.root:
                    raise
                log.warning("left out: %s", error)
                self.left_out[path] = str(error)
        if not self.clips:
            reasons = "; ".join(self.left_out.values()) or "it holds no video file"
            raise InputError(f"{root} gives no pair of frames: {reasons}.")
        self.stems = Counter(clip.video.path.with_suffix("") for clip in self.clips)
        self.ends = np.cumsum([len(clip.pairs) for clip in self.clips])
        self.opened: OrderedDict[int, None] = OrderedDict()

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether the path is a file, or a folder with a video in it."""
        return root.is_file() or bool(list_videos(root))

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int) -> Sample:
        place, pair = locate(self.ends, index)
        clip = self._use(place)
        number1, number2 = clip.pairs[pair].tolist()
        image1, image2 = clip.video[number1], clip.video[number2]
        if image1.shape != image2.shape:
            raise InputError(f"Frames {number1} and {number2} of {clip.video.path} differ in size.")
        return Sample(f"{self.name_of(clip.video.path)}/{number1:06d}", image1[clip.crop], image2[clip.crop])

    def name_of(self, path: Path) -> str:
        """What the pairs of a video are named after: its path without the suffix, or with it where two are alike."""
        stem = path.with_suffix("")
        return (stem if self.stems[stem] == 1 else path).relative_to(self.base).as_posix()

    def before(self, index: int) -> int | None:
        """The pair whose second frame is the first of this pair."""
        place, pair = locate(self.ends, index)
        pairs = self.clips[place].pairs
        found = np.flatnonzero(pairs[:pair, 1] == pairs[pair, 0])
        return None if not len(found) else index - pair + int(found[-1])

    def runs(self) -> list[range]:
        """The stretches of indices that lie near one another in a file."""
        return stretches(self.ends, NEIGHBOURS)

    def _use(self, place: int) -> Clip:
        """The clip of that place, open; the one used longest ago is closed when there are too many."""
        self.opened[place] = None
        self.opened.move_to_end(place)
        if len(self.opened) > OPEN_AT_ONCE:
            self.clips[self.opened.popitem(last=False)[0]].video.close()
        return self.clips[place]


def whole_clip(path: Path, step: int) -> Clip:
    """All pairs of a video, `step` apart."""
    video = Video(path)
    if len(video) <= step:
        raise InputError(f"{path} has {len(video)} frame(s); a pair {step} apart needs more.")
    firsts = np.arange(len(video) - step)
    return Clip(video, np.stack([firsts, firsts + step], axis=1))


def curated_clip(path: Path) -> Clip:
    """The pairs and the picture that curation chooses."""
    video = Video(path)
    curation = curate_clip(video)
    video.close()
    log.info("%s", curation.summary())
    top, bottom, left, right = curation.crop
    return Clip(video, np.array(curation.pairs), (slice(top, bottom), slice(left, right)))


def list_videos(root: Path) -> list[Path]:
    """The path itself when it is a file, else the videos in the folder and its folders, in natural order."""
    if root.is_file():
        return [root]
    return [
        path
        for folder in [root, *list_folders(root)]
        for path in sorted(entries(folder), key=natural)
        if path.suffix.lower() in VIDEO_SUFFIXES
    ]
