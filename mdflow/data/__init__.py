"""Datasets: one file each, found by name or by looking."""

import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from mdflow.config import SyntheticConfig
from mdflow.data.chairs import FlyingChairs
from mdflow.data.curation.curated import Curated
from mdflow.data.files import entries
from mdflow.data.frames import Frames
from mdflow.data.hd1k import Hd1k
from mdflow.data.kitti import Kitti2012, Kitti2012Multiview, Kitti2015, Kitti2015Multiview, KittiRaw
from mdflow.data.labelled import labelled_only
from mdflow.data.middlebury import Middlebury
from mdflow.data.mixture import Mixture
from mdflow.data.packing.packed import Packed
from mdflow.data.packing.shards import Shards
from mdflow.data.sample import Dataset
from mdflow.data.sintel import Sintel
from mdflow.data.spring import Spring
from mdflow.data.synthetic import Synthetic
from mdflow.data.things import SceneFlow, ThingsSubset
from mdflow.data.videos import Videos
from mdflow.errors import InputError
from mdflow.settings import build as read_settings

DATASETS: dict[str, Callable[..., Dataset]] = {
    "synthetic": Synthetic,
    "sintel": Sintel,
    "kitti2015": Kitti2015,
    "kitti2012": Kitti2012,
    "kitti2015_multiview": Kitti2015Multiview,
    "kitti2012_multiview": Kitti2012Multiview,
    "kitti_raw": KittiRaw,
    "chairs": FlyingChairs,
    "middlebury": Middlebury,
    "hd1k": Hd1k,
    "spring": Spring,
    "things_subset": ThingsSubset,
    "sceneflow": SceneFlow,
    "curated": Curated,
    "packed": Packed,
    "shards": Shards,
    "video": Videos,
    "frames": Frames,
}
"""By name; a path is taken for the first whose `recognises` says so."""

UNLABELLED = ("shards", "video", "frames")
ON_DISK = tuple(name for name in DATASETS if name != "synthetic")
LABELLED = tuple(name for name in ON_DISK if name not in UNLABELLED)
FOLDERS_OF_FRAMES = ("sintel", "middlebury", "spring")  # whose folders hold the frames of one scene each, all of them


def open_dataset(source: Path | str, **options) -> Dataset:
    """The dataset at a path, in whatever layout it has, or "synthetic".

    "NAME=PATH" says which of DATASETS it is (kitti2015_multiview=...). Options go to the dataset's
    constructor: render="final" for Sintel, step=2 for videos; "PATH?render=final&split=training" gives them
    with the path. Raises InputError when nothing is there, nothing is recognised (with what was found), or
    the dataset has no such option.
    """
    source, given = split_options(str(source))
    options = given | options
    named, _, rest = source.partition("=")
    if source == "synthetic":
        return build("synthetic", options)
    if rest and named in DATASETS:
        return build(named, {"root": Path(rest)} | options)
    path = Path(source)
    if not path.exists():
        raise InputError(
            f"{path} does not exist; expected a video, a folder of frames or videos, or a data set's root."
        )
    return build(recognise(path), {"root": path} | options)


def open_datasets(sources: Sequence[str], labelled: bool = False, **synthetic) -> Dataset:
    """The mixture of several sources, each with an optional weight after a colon, "clips:0.3"; one as it is.

    labelled: without the pairs that have no flow. The options go to the synthetic set, where it is among
    them, but for those that its source names itself ("synthetic?hard=1"). Raises
    InputError as open_dataset does, and if a source has no labelled pair.
    """
    if not sources:
        raise InputError("No data was given; expected at least one path, or synthetic.")
    parts = [split_weight(source) for source in sources]
    datasets = [open_dataset(source, **for_source(source, synthetic)) for source, _ in parts]
    if labelled:
        datasets = [labelled_only(dataset, source) for dataset, (source, _) in zip(datasets, parts, strict=True)]
    weights = [weight for _, weight in parts]
    if len(datasets) == 1:
        return datasets[0]
    if all(weight is None for weight in weights):
        return Mixture(datasets)
    return Mixture(datasets, [1.0 if weight is None else weight for weight in weights])


def for_source(source: str, synthetic: dict) -> dict:
    """The synthetic set's options that a source leaves open; none for another source."""
    name, given = split_options(source)
    return {key: value for key, value in synthetic.items() if key not in given} if name == "synthetic" else {}


def split_weight(source: str) -> tuple[str, float | None]:
    """ "path:0.5" as path and weight; a path that exists as written has none."""
    match = re.fullmatch(r"(.+):(\d*\.?\d+)", source)
    return (match[1], float(match[2])) if match and not Path(source).exists() else (source, None)


def split_options(source: str) -> tuple[str, dict]:
    """ "path?split=training&step=2" as path and options; a path that exists as written has none."""
    path, mark, query = source.partition("?")
    if not mark or Path(source).exists():
        return source, {}
    pairs = [pair.partition("=") for pair in query.split("&")]
    try:
        options = {key: yaml.safe_load(value) for key, _, value in pairs}
    except yaml.YAMLError:
        options = {}
    if not options or not all(key and value for key, _, value in pairs):
        raise InputError(f"Cannot read the options of '{source}'; expected PATH?key=value&key=value.")
    return path, options


def recognise(path: Path) -> str:
    """The name of the dataset whose layout the path has."""
    name = known_layout(path)
    if name in (None, "frames"):
        refuse_part(path, name)
    if name is None:
        found = ", ".join(sorted(entry.name for entry in entries(path))[:8]) or "nothing"
        raise InputError(
            f"{path} holds {found}: no data set is recognised there; expected videos, frames, "
            "folders of frames, or a root as docs/data.md shows."
        )
    return name


def refuse_part(path: Path, name: str | None) -> None:
    """Raise InputError where the root of a data set is one or two folders above the path."""
    for root in path.absolute().parents[:2]:
        whole = known_layout(root, LABELLED)  # the others look through all folders there
        if whole is not None:
            alone = name == "frames" and whole in FOLDERS_OF_FRAMES
            or_frames = f", or frames={path} for its frames without labels" if alone else ""
            raise InputError(
                f"{path} is a part of a data set: {root} looks like the root of {whole}; give that{or_frames}."
            )


def known_layout(path: Path, among: Sequence[str] = ON_DISK) -> str | None:
    """The first of these DATASETS that recognises the path."""
    return next((name for name in among if DATASETS[name].recognises(path)), None)


WORDS = {int: "whole number", float: "number", str: "word", bool: "true or false", range: "whole number or several"}
SEVERAL = (range, tuple[str, ...])


def build(name: str, options: dict) -> Dataset:
    """Construct a dataset; InputError for an option that it does not have, or of another kind."""
    known = inspect.signature(DATASETS[name]).parameters
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputError(f"The dataset {name} has no option {', '.join(unknown)}; expected some of {', '.join(known)}.")
    for key, value in options.items():
        kind = known[key].annotation
        if not is_of(kind, value):
            raise InputError(f"The option {key}={value} of the dataset {name} is no {WORDS[kind]}.")
    options = {key: several(value) if known[key].annotation in SEVERAL else value for key, value in options.items()}
    if name == "synthetic":
        checked = read_settings(SyntheticConfig, **options)
        options = {key: getattr(checked, key) for key in options}
    return DATASETS[name](**options)


def is_of(kind: type, value: object) -> bool:
    """Whether an option's value is of the kind that its dataset asks for, as far as WORDS knows it."""
    if kind is range:
        return all(type(one) is int for one in several(value))
    return kind not in WORDS or type(value) is kind or (kind is float and type(value) is int)


def several(value: object) -> Sequence:
    """The values of an option that takes several, of which one may be given by itself."""
    return value if isinstance(value, list | tuple | range) else [value]
