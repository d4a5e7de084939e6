"""What happens behind the page: footage and networks come in, folders of pictures go out. It knows no web server."""

import secrets
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

import torch

from mdflow.checkpoint import load_network
from mdflow.data.io import write_image
from mdflow.data.synthetic import Synthetic
from mdflow.demo_page.upload import Limits, excerpt, open_upload, without_folders
from mdflow.demo_page.viewing import Viewing, estimate
from mdflow.deployment.runtime import OnnxPredictor
from mdflow.errors import InputError
from mdflow.footage import Footage
from mdflow.inference import Predictor

Networks = dict[str, Predictor | OnnxPredictor]

IMAGES_A_SECOND = 8.0
LARGEST_RESULT = 2 * 10**9
"""Bytes of flow that one look may leave on disk."""
BYTES_A_VECTOR = 8


@dataclass(frozen=True)
class Wish:
    """What a person asks for: which frames of which files, how large, and one or two networks by name."""

    paths: Sequence[Path]
    networks: Sequence[str]
    first: int = 0
    count: int = 60
    longest: int = 512


class Desk:
    """Serves wishes. `networks` are those offered to everyone; results go to folders below `folder`.

    `device` is that of networks that somebody brings.
    """

    def __init__(self, networks: Networks, folder: Path, limits: Limits, device: torch.device | None = None) -> None:
        self.networks = networks
        self.folder = folder
        self.limits = limits
        self.device = device

    def describe(self, paths: Sequence[Path]) -> str:
        """A sentence on what was dropped; InputError for what cannot be used."""
        with files_named(paths):
            footage = open_upload(paths, self.limits)
            height, width = footage.frames[0].shape[:2]
        rate = f", {footage.rate:.4g} a second" if footage.rate else ""
        return f"{len(footage.names)} frames of {width}×{height} pixels{rate}."

    def look(self, wish: Wish, own: Networks | None = None) -> Iterator[Viewing]:
        """The view of the wish, again after every pair and, finished, at the end.

        `own` are networks that this person brought. Raises InputError for a wish that cannot be met.
        """
        networks = self.choose(wish.networks, own or {})
        with files_named(wish.paths):
            footage = open_upload(wish.paths, self.limits)
            footage = excerpt(footage, wish.first, wish.count, wish.longest, self.limits)
            height, width = footage.frames[0].shape[:2]
            needed = (len(footage.names) - 1) * height * width * BYTES_A_VECTOR * len(networks)
            if needed > LARGEST_RESULT:
                raise InputError(
                    f"The flow would take {needed / 1e9:.1f} GB, and one look may take {LARGEST_RESULT / 1e9:.0f} GB; "
                    "choose fewer frames or smaller ones."
                )
            yield from self.fill(footage, wish, networks)

    def fill(self, footage: Footage, wish: Wish, networks: Networks) -> Iterator[Viewing]:
        """The growing view of a footage through some networks."""
        view = Viewing(
            folder=self.folder / secrets.token_hex(16),
            title=Path(wish.paths[0]).stem,
            networks=list(networks),
            rate=footage.rate or IMAGES_A_SECOND,
            total=len(footage.names) - 1,
        )
        with view:
            for name, image1, image2 in footage.pairs():
                view.write(name, image1, image2, [estimate(each, image1, image2) for each in networks.values()])
                yield view
        yield view

    def choose(self, names: Sequence[str], own: Networks) -> Networks:
        """The networks of these names, each once."""
        known = {**self.networks, **own}
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            named = f"'{unknown[0]}' is not one of the networks here" if unknown else "No network was chosen"
            raise InputError(f"{named}; choose from {', '.join(known)}.")
        return {name: known[name] for name in names}

    def bring(self, path: Path, own: Networks | None = None) -> tuple[str, Predictor]:
        """(name to show, network) of a .safetensors file that mdflow wrote; InputError for any other file.

        `own` are networks that this person brought before.
        """
        if path.suffix.lower() != ".safetensors":
            raise InputError(
                f"{path.name} is no .safetensors file, the only kind that the page opens; "
                f"for a published one start it with `mdflow demo --network NAME={path.name}`."
            )
        with files_named([path]):
            network = load_network(path)
        name = numbered(f"{network.name}, {path.stem}", {**self.networks, **(own or {})})
        return name, Predictor(network, device=self.device)

    def forget(self, view: Viewing | None) -> None:
        """Remove the files of a view."""
        if view is not None:
            shutil.rmtree(view.folder, ignore_errors=True)


@contextmanager
def files_named(paths: Sequence[Path]) -> Iterator[None]:
    """Within, an InputError calls the files by their own names."""
    try:
        yield
    except InputError as error:
        raise InputError(without_folders(str(error), paths)) from error


def numbered(name: str, taken: Collection[str]) -> str:
    """The name, with a number where it is taken."""
    return next(one for one in chain([name], (f"{name} {number}" for number in count(2))) if one not in taken)


def made_up_images(folder: Path, frames: int = 8, size: tuple[int, int] = (216, 384), seed: int = 3) -> list[Path]:
    """Image files of a synthetic scene, for those who have no footage at hand."""
    scene = Synthetic(
        length=1, frames=frames, size=size, motion=(2.5, 3.0), seed=seed, texture_count=8, appearance=False
    )
    samples = [scene[index] for index in range(len(scene))]
    images = [sample.image1 for sample in samples] + [samples[-1].image2]
    paths = [folder / f"scene_{number:02d}.png" for number in range(frames)]
    for path, image in zip(paths, images, strict=True):
        write_image(path, image)
    return paths
