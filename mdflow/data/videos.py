"""Video files, with no labels."""

import logging
from collections import OrderedDict
from pathlib import Path

import numpy as np

from mdflow.data.files import entries, list_folders, natural
from mdflow.data.sample import Sample
from mdflow.data.video import VIDEO_SUFFIXES, Video
from mdflow.errors import InputError

OPEN_AT_ONCE = 8
NEIGHBOURS = 32

log = logging.getLogger(__name__)


class Videos:
    """Frames `step` apart of one video file, or of every video in a folder or its folders.

    A file of a folder that is no video, or has too few frames, is left out with a warning and listed in
    `left_out` (path to reason); a single file raises InputError. At most OPEN_AT_ONCE files are open.
    Random access within one video is slow (a key frame is often 250 frames away); `runs` names the
    stretches whose pairs should be read near one another (mdflow.data.order).
    """

    name = "video"

    def __init__(self, root: Path | str, step: int = 1):
        self.root = Path(root)
        if step < 1:
            raise InputError(f"The step between the frames of {root} is {step}; expected 1 or more.")
        self.step = step
        self.left_out: dict[Path, str] = {}
        self.videos = [video for path in list_videos(self.root) if (video := self._open(path))]
        if not self.videos:
            reasons = "; ".join(self.left_out.values()) or "it holds no video file"
            raise InputError(f"{root} gives no pair of frames: {reasons}.")
        self.ends = np.cumsum([len(video) - step for video in self.videos])
        self.opened: OrderedDict[int, None] = OrderedDict()

    def _open(self, path: Path) -> Video | None:
        """The video, or None when it is one of a folder's and cannot be used."""
        try:
            video = Video(path)
            if len(video) <= self.step:
                raise InputError(f"{path} has {len(video)} frame(s); a pair {self.step} apart needs more.")
        except InputError as error:
            if path == self.root:
                raise
            log.warning("left out: %s", error)
            self.left_out[path] = str(error)
            return None
        return video

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether the path is a file, or a folder with a video in it."""
        return root.is_file() or bool(list_videos(root))

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        place = int(np.searchsorted(self.ends, index, side="right"))
        number = index - int(self.ends[place - 1] if place else 0)
        video = self._use(place)
        image1, image2 = video[number], video[number + self.step]
        if image1.shape != image2.shape:
            raise InputError(f"Frames {number} and {number + self.step} of {video.path} differ in size.")
        return Sample(f"{video.path.stem}/{number:06d}", image1, image2)

    def runs(self) -> list[range]:
        """The stretches of indices that lie near one another in a file."""
        starts = [0, *self.ends[:-1].tolist()]
        return [
            range(begin, min(begin + NEIGHBOURS, end))
            for start, end in zip(starts, self.ends.tolist(), strict=True)
            for begin in range(start, end, NEIGHBOURS)
        ]

    def _use(self, place: int) -> Video:
        """The video of that place, open; the one used longest ago is closed when there are too many."""
        self.opened[place] = None
        self.opened.move_to_end(place)
        if len(self.opened) > OPEN_AT_ONCE:
            self.videos[self.opened.popitem(last=False)[0]].close()
        return self.videos[place]


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
