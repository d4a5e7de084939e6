"""The frames and pairs that curation chose, in a folder: decoded once, read in any order."""

import json
from itertools import chain, count
from pathlib import Path

from tqdm import tqdm

from mdflow.data.curation.contact import contact_sheet
from mdflow.data.curation.curate import Curation, open_clip
from mdflow.data.files import FileDataset, PairFiles, require_folder
from mdflow.data.io import write_image
from mdflow.data.pixels import read_bytes, write_bytes
from mdflow.errors import InputError

PAIRS_FILE = "pairs.json"
RESERVED = ("pairs", "clips")  # files that stand beside the clips, that of mdflow adapt included


class Curated(FileDataset):
    """ROOT/pairs.json lists pairs of images below ROOT: [["clip/000000.png", "clip/000002.png"], ...]."""

    name = "curated"
    expected = "ROOT/pairs.json and the images that it names, as `mdflow curate` writes them"

    def __init__(self, root: Path | str):
        root = require_folder(Path(root), self.expected)
        pairs = [pair_files(root, pair) for pair in read_pairs(root / PAIRS_FILE)]
        super().__init__(root, pairs)

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether the folder looks like this dataset."""
        return (root / PAIRS_FILE).is_file()


def read_pairs(path: Path) -> list:
    """The list in the file; InputError when it is something else."""
    try:
        pairs = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}; make it anew with `mdflow curate`.") from error
    right = isinstance(pairs, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(name, str) for name in pair) for pair in pairs
    )
    if not right:
        raise InputError(f"{path} is not a list of pairs of file names; make it anew with `mdflow curate`.")
    return pairs


def pair_files(root: Path, pair: list[str]) -> PairFiles:
    """The files of a pair; InputError when a name leads out of the folder."""
    image1, image2 = (root / name for name in pair)
    for image in (image1, image2):
        if not image.resolve().is_relative_to(root.resolve()):
            raise InputError(f"{root / PAIRS_FILE} names {image}, which is not in its folder; do not trust it.")
    return PairFiles(Path(pair[0]).with_suffix("").as_posix() + f"-{image2.stem}", image1, image2)


def extract(curations: list[Curation], folder: Path | str) -> None:
    """Write the frames of all pairs, cropped, pairs.json, and for each clip its report and contact sheet.

    Raises InputError as require_new does, or when the folder cannot be written.
    """
    folder, sources = Path(folder), [curation.source for curation in curations]
    require_new(folder, sources)
    pairs = []
    for curation, clip in zip(curations, clip_names(sources), strict=True):
        try:
            (folder / clip).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder / clip} cannot be made: {error.strerror or error}.") from error
        write_frames(curation, folder / clip)
        write_bytes(folder / f"{clip}.json", json.dumps(curation.as_dict(), indent=1).encode())
        write_image(folder / f"{clip}.png", contact_sheet(curation))
        pairs += [[f"{clip}/{number:06d}.png" for number in pair] for pair in curation.pairs]
    # Last, so that a folder with this file is a whole one.
    write_bytes(folder / PAIRS_FILE, json.dumps(pairs).encode())


def require_new(folder: Path, sources: list[Path]) -> None:
    """Raise InputError when the folder already holds pairs, or a clip's frames would be written into a source."""
    if (folder / PAIRS_FILE).exists():
        raise InputError(f"{folder} already holds curated pairs; give another folder or remove it.")
    require_apart(folder, sources)


def require_apart(folder: Path, sources: list[Path]) -> None:
    """Raise InputError when a clip's frames would be written into a source."""
    for clip in clip_names(sources):
        inside = [one for one in sources if (folder / clip).resolve().is_relative_to(one.resolve())]
        if inside:
            raise InputError(f"The frames for {folder / clip} would be written into {inside[0]}; give another folder.")


def write_frames(curation: Curation, folder: Path) -> None:
    """Write every frame that a pair uses."""
    frames = open_clip(curation.source)
    top, bottom, left, right = curation.crop
    numbers = sorted({number for pair in curation.pairs for number in pair})
    for number in tqdm(numbers, desc=f"writing {folder.name}", leave=False, disable=None):
        write_image(folder / f"{number:06d}.png", frames[number][top:bottom, left:right])


def clip_names(sources: list[Path]) -> list[str]:
    """A folder name a clip: its file's, with a number where two are alike or the folder has such a file itself."""
    names: list[str] = []
    for source in sources:
        stem = source.resolve().stem
        numbered = (f"{stem}_{number}" for number in count(1))
        names.append(next(name for name in chain([stem], numbered) if name not in [*names, *RESERVED]))
    return names
