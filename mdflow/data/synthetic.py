"""The synthetic set: moving scenes with exact flow both ways and exact occlusion, made on the spot."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mdflow.data.sample import Sample
from mdflow.data.scenes.hardness import hard_textures, with_shadows
from mdflow.data.scenes.recording import compress, expose, open_shutter
from mdflow.data.scenes.regular import regular_surfaces
from mdflow.data.scenes.scene import Layer, View, flow_to, view, visible_in
from mdflow.data.scenes.scenery import camera_scene, layered_scene
from mdflow.data.scenes.textures import make_textures, to_uint8
from mdflow.errors import InputError


@dataclass
class Synthetic:
    """`length` sequences of `frames` frames, sample i of a seed always the same.

    size: (height, width). motion: the range of the scenes' typical displacement in pixels a frame; each
    scene draws its own, log-uniformly. camera: the share of scenes seen by a camera that moves through
    space, the others are layers in the image plane. hard: the share of scenes with plain and finely tiled
    surfaces, shadows and reflections. regular: the share of scenes whose large surfaces repeat (bricks, tiles,
    nets). appearance: exposure, shading, blur and noise differ between frames. filmed: the share of scenes that a
    camera's shutter blurs where they move (flow and occlusion are of the middle of the exposure), half of them
    compressed. textures: a folder of the user's own images to take half of the textures from.
    Pairs are the consecutive frames of each sequence, `frames` − 1 of them a sequence.
    """

    length: int = 1000
    size: tuple[int, int] = (256, 320)
    motion: tuple[float, float] = (0.5, 20.0)
    seed: int = 0
    frames: int = 2
    camera: float = 0.4
    hard: float = 0.0
    regular: float = 0.0
    appearance: bool = True
    filmed: float = 0.0
    textures: Path | None = None
    texture_count: int = 96

    name = "synthetic"

    def __post_init__(self) -> None:
        least, most = self.motion
        if not 0 < least <= most < np.inf:
            raise InputError(
                f"The motion of synthetic scenes, {least} to {most} px, is no range; expected 0 < LEAST <= MOST."
            )
        if self.hard + self.regular > 1:
            raise InputError(
                f"The shares of hard and of regular synthetic scenes, {self.hard} and {self.regular}, are more than "
                "all scenes; expected at most 1 together."
            )

    @cached_property
    def bank(self) -> list[np.ndarray]:
        """The textures of all scenes."""
        return make_textures(self.texture_count, self.seed, self.textures)

    def __len__(self) -> int:
        return self.length * (self.frames - 1)

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key != "bank"}

    def layers(self, sequence: int) -> list[Layer]:
        """The scene of a sequence."""
        rng = np.random.default_rng([self.seed, sequence, 1])
        speed = float(np.exp(rng.uniform(*np.log(self.motion))))
        make = camera_scene if rng.random() < self.camera else layered_scene
        chance = np.random.default_rng([self.seed, sequence, 4])
        kind = chance.random()
        if kind >= self.hard + self.regular:
            return make(rng, self.bank, self.bank, *self.size, speed)
        things = hard_textures(chance, self.bank)
        surfaces = things if kind < self.hard else regular_surfaces(chance, self.bank)
        return with_shadows(chance, make(rng, surfaces, things, *self.size, speed), things, *self.size, speed)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        sequence, time = divmod(index, self.frames - 1)
        layers = self.layers(sequence)
        view1, view2 = view(layers, time, *self.size), view(layers, time + 1, *self.size)
        flow12, flow21 = flow_to(layers, view1, time + 1), flow_to(layers, view2, time)
        image1, image2 = (self.develop(layers, shown, sequence) for shown in (view1, view2))
        known12, known21 = np.isfinite(flow12[..., 0]), np.isfinite(flow21[..., 0])
        visible1, visible2 = visible_in(view1, flow12, view2), visible_in(view2, flow21, view1)
        return Sample(
            name=f"{self.seed}/{sequence:06d}/{time:04d}",
            image1=image1,
            image2=image2,
            flow12=np.where(known12[..., None], flow12, 0),
            valid1=known12,
            visible1=visible1,
            flow21=np.where(known21[..., None], flow21, 0),
            valid2=known21,
            visible2=visible2,
        )

    def before(self, index: int) -> int | None:
        """The pair whose second frame is the first of this pair."""
        return index - 1 if index % (self.frames - 1) else None

    def develop(self, layers: list[Layer], shown: View, sequence: int) -> np.ndarray:
        """The view as a camera gives it: (H,W,3) uint8."""
        film = np.random.default_rng([self.seed, sequence, 5])
        filmed, shutter, quality = film.random() < self.filmed, film.uniform(0.1, 0.7), film.integers(30, 160)
        image = open_shutter(layers, shown, shutter) if filmed else shown.image
        if self.appearance:
            shared = np.random.default_rng([self.seed, sequence, 2])
            own = np.random.default_rng([self.seed, sequence, 3, shown.time])
            image = expose(image, shared, own)
        frame = to_uint8(image)
        return compress(frame, int(quality)) if filmed and quality < 95 else frame
