"""What the synthetic scenes contain: layers in the image plane, or surfaces seen by a moving camera."""

import cv2
import numpy as np

from mdflow.data.scenes.motion import Camera, PlaneMotion, SurfaceMotion
from mdflow.data.scenes.scene import MAX_BEND_SLOPE, Layer
from mdflow.data.scenes.textures import noise_field, star_polygon

Textures = list[np.ndarray]


def layered_scene(
    rng: np.random.Generator, surfaces: Textures, things: Textures, height: int, width: int, speed: float
) -> list[Layer]:
    """A background and up to a dozen shapes, each with its own affine and often non-rigid motion.

    surfaces: the textures of what is large, things: of the shapes. speed is the typical displacement in pixels a
    frame. The shapes follow the background in part, as things seen by a moving camera do.
    """
    middle = np.array([width, height]) / 2
    drift = random_direction(rng) * speed * rng.gamma(2, 0.5)
    reach = 0.5 * np.hypot(height, width)
    layers = [background(rng, surfaces, middle, reach, drift, speed)]
    for _ in range(rng.integers(2, 13)):
        radius = min(height, width) * np.exp(rng.uniform(np.log(0.05), np.log(0.45)))
        velocity = rng.uniform(0, 1) * drift + random_direction(rng) * speed * rng.gamma(1.5, 0.6)
        texture = shape(rng, things, radius)
        side = len(texture)
        motion = PlaneMotion(
            center=rng.uniform(0, 1, 2) * [width, height] - velocity * rng.uniform(-0.5, 1),
            anchor=np.array([side, side]) / 2,
            velocity=velocity,
            acceleration=0.1 * speed * rng.normal(0, 1, 2),
            angle=rng.uniform(0, 2 * np.pi),
            turn=float(np.clip(rng.normal(0, 0.4) * speed / radius, -0.5, 0.5)),
            scale=2.4 * radius / side,
            zoom=float(np.clip(rng.normal(0, 0.2) * speed / radius, -0.25, 0.25)),
            squeeze=rng.normal(0, 0.1),
        )
        bend = random_bend(rng, side, side, speed * 0.5) if rng.random() < 0.4 else None
        layers.append(Layer(texture, motion, bend, sway(rng)))
    return layers


def background(
    rng: np.random.Generator,
    textures: Textures,
    middle: np.ndarray,
    reach: float,
    drift: np.ndarray,
    speed: float,
) -> Layer:
    """An endless texture behind everything."""
    texture = opaque(choose(rng, textures))
    side = len(texture)
    motion = PlaneMotion(
        center=middle,
        anchor=rng.uniform(0, side, 2),
        velocity=drift,
        acceleration=0.05 * speed * rng.normal(0, 1, 2),
        angle=rng.uniform(0, 2 * np.pi),
        turn=float(np.clip(rng.normal(0, 0.25) * speed / reach, -0.2, 0.2)),
        scale=np.exp(rng.uniform(np.log(0.5), np.log(1.6))),
        zoom=float(np.clip(rng.normal(0, 0.35) * speed / reach, -0.2, 0.2)),
    )
    bend = random_bend(rng, side, side, 0.4 * speed) if rng.random() < 0.4 else None
    return Layer(texture, motion, bend, sway(rng), endless=True)


def camera_scene(
    rng: np.random.Generator, surfaces: Textures, things: Textures, height: int, width: int, speed: float
) -> list[Layer]:
    """A street or a room: far wall, floor, side walls and standing things, seen by a camera that drives or pans."""
    focal = width * rng.uniform(0.6, 1.3)
    principal = np.array([width * rng.uniform(0.4, 0.6), height * rng.uniform(0.35, 0.6)])
    floor = rng.uniform(1.2, 2.0)  # metres below the camera
    typical = floor * focal / (0.3 * height)  # depth of the floor at a third of the way down
    forward = rng.random() < 0.6
    direction = np.array([0.1, 0.04, 1]) if forward else np.array([1, 0.4, 0.3])
    # A forward step Z moves a pixel at distance r from the centre by about r·Z/depth, a sideways step X by f·X/depth.
    lever = 0.3 * height if forward else focal
    velocity = direction * rng.normal(0, 1, 3) * speed * typical / lever
    if forward:
        velocity[2] = rng.choice([1, 1, 1, -1]) * abs(velocity[2])
    velocity[2] = np.clip(velocity[2], -0.3 * typical, 0.3 * typical)
    turn = rng.normal(0, 1, 3) * [0.15, 0.3, 0.3] * speed / focal * rng.choice([0, 1])
    camera = Camera(focal, principal, velocity, turn)
    depth = typical * rng.uniform(4, 10)
    layers = [wall(rng, surfaces, camera, depth)]
    layers += sides(rng, surfaces, camera, floor, depth, typical)
    return layers + standing_things(rng, things, camera, floor, depth, typical, speed)


def wall(rng: np.random.Generator, textures: Textures, camera: Camera, depth: float) -> Layer:
    """The endless far wall, or sky."""
    texture = opaque(choose(rng, textures))
    texel = depth / camera.focal * rng.uniform(0.6, 1.6)
    corner = np.array([*(rng.uniform(-1, 0, 2) * len(texture) * texel), depth])
    axes = texel * np.eye(3)
    motion = SurfaceMotion(camera, corner, axes[0], axes[1], np.zeros(3))
    return Layer(texture, motion, endless=True)


def sides(
    rng: np.random.Generator, textures: Textures, camera: Camera, floor: float, depth: float, typical: float
) -> list[Layer]:
    """The floor, and often walls left and right, as strips that run from behind the camera to the far wall."""
    layers = []
    texel = typical / camera.focal * rng.uniform(0.4, 1.0)
    into = np.array([0, 0, 1.0])
    half = rng.uniform(1.2, 5) * floor
    strips = [(np.array([-20 * half, floor, 0.2]), np.array([1.0, 0, 0]), 40 * half)]
    for side in (-1, 1):
        if rng.random() < 0.6:
            tall = floor * rng.uniform(1.5, 6)
            strips.append((np.array([side * half, floor - tall, 0.2]), np.array([0, 1.0, 0]), tall))
    for corner, across, extent in strips:
        long, broad = int(min((depth - 0.2) / texel, 1400)), int(min(extent / texel, 1400))
        texture = opaque(tile(rng, choose(rng, textures), long, broad))
        if extent / texel > broad:  # a floor is cut at the texture's size, around the camera
            corner = corner + across * (extent - broad * texel) / 2
        layers.append(Layer(texture, SurfaceMotion(camera, corner, across * texel, into * texel, np.zeros(3))))
    return layers


def standing_things(
    rng: np.random.Generator,
    textures: Textures,
    camera: Camera,
    floor: float,
    depth: float,
    typical: float,
    speed: float,
) -> list[Layer]:
    """Upright shapes from far to near, some moving on their own."""
    layers = []
    for distance in sorted(typical * np.exp(rng.uniform(np.log(0.5), np.log(4), rng.integers(2, 11))), reverse=True):
        if distance > depth:
            continue
        size = floor * np.exp(rng.uniform(np.log(0.3), np.log(2)))
        radius = 0.5 * size * camera.focal / distance
        texture = shape(rng, textures, min(radius, 250))
        texel = 1.2 * size / len(texture)
        x = rng.uniform(-0.7, 0.7) * 2 * camera.principal[0] * distance / camera.focal
        corner = np.array([x - 0.6 * size, floor - 1.1 * size * rng.uniform(0.9, 1.6), distance])
        tilt = rng.normal(0, 0.5)
        across = texel * np.array([np.cos(tilt), 0, np.sin(tilt)])
        own = np.zeros(3)
        if rng.random() < 0.5:
            own = random_direction(rng, 3) * [1, 0.2, 1] * speed * distance / camera.focal
        down = texel * np.array([0, 1.0, 0])
        motion = SurfaceMotion(camera, corner, across, down, own)
        side = len(texture)
        bend = random_bend(rng, side, side, 0.4 * speed) if rng.random() < 0.3 else None
        layers.append(Layer(texture, motion, bend, sway(rng)))
    return layers


def random_direction(rng: np.random.Generator, dimensions: int = 2) -> np.ndarray:
    """A unit vector."""
    vector = rng.normal(0, 1, dimensions)
    return vector / np.linalg.norm(vector)


def sway(rng: np.random.Generator):
    """How a bend comes and goes: zero at time 0, at most 1."""
    return Sway(rng.uniform(0.5, 1.5))


class Sway:
    """sin(rate·t): callable, and picklable for loader workers."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, time: float) -> float:
        return float(np.sin(self.rate * time))


def random_bend(rng: np.random.Generator, height: int, width: int, amplitude: float) -> np.ndarray:
    """A smooth displacement field (height,width,2) whose slope keeps it invertible."""
    cells = int(rng.integers(3, 7))
    coarse = rng.standard_normal((cells, cells, 2)).astype(np.float32)
    field = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(amplitude)
    slope = max(np.abs(np.diff(field, axis=0)).max(), np.abs(np.diff(field, axis=1)).max(), 1e-6)
    return field * np.float32(min(1.0, 0.5 * MAX_BEND_SLOPE / slope))


def choose(rng: np.random.Generator, textures: Textures) -> np.ndarray:
    """A texture, mirrored and recoloured at random."""
    texture = textures[rng.integers(len(textures))]
    if rng.random() < 0.5:
        texture = cv2.flip(texture, 1)
    if rng.random() < 0.5:
        texture = texture[:, :, rng.permutation(3)]
    contrast, brightness = rng.uniform(0.4, 1.2), rng.uniform(-40, 40)
    values = np.arange(256, dtype=np.float32)
    return cv2.LUT(texture, np.clip(128 + contrast * (values - 128) + brightness, 0, 255).astype(np.uint8))


def opaque(texture: np.ndarray) -> np.ndarray:
    """RGB to RGBA, nowhere transparent."""
    return cv2.cvtColor(texture, cv2.COLOR_RGB2RGBA)


def tile(rng: np.random.Generator, texture: np.ndarray, height: int, width: int) -> np.ndarray:
    """The texture mirrored on until it is height×width, from a random start."""
    top, left = rng.integers(0, len(texture), 2)
    return cv2.copyMakeBorder(texture, 0, height + top, 0, width + left, cv2.BORDER_REFLECT)[
        top : top + height, left : left + width
    ]


def shape(rng: np.random.Generator, textures: Textures, radius: float) -> np.ndarray:
    """A textured shape (side,side,4) of about `radius` frame pixels: star, ellipse, blob, thin bars or ring."""
    texture = choose(rng, textures)
    density = np.exp(rng.uniform(np.log(0.8), np.log(1.8)))
    side = int(np.clip(2.4 * radius * density, 16, len(texture)))
    top, left = rng.integers(0, len(texture) - side + 1, 2)
    alpha = np.zeros((side, side), np.uint8)
    draw_outline(rng, alpha)
    if rng.random() < 0.15:
        hole = (side / 2 + side * 0.15 * star_polygon(rng, int(rng.integers(3, 12)), 0.3)) * 16
        cv2.fillPoly(alpha, [np.rint(hole).astype(np.int32)], 0, cv2.LINE_AA, shift=4)
    return np.dstack([texture[top : top + side, left : left + side], alpha])


def draw_outline(rng: np.random.Generator, alpha: np.ndarray) -> None:
    """Fill a random outline into the square mask."""
    side = len(alpha)
    kind = rng.random()
    if kind < 0.25:
        field = noise_field(rng, 1, 0.35, coarsest=3)[:, :, 0]
        field = cv2.resize(field, (side, side))
        x = np.linspace(-1, 1, side)
        field = field - 3.5 * np.maximum(np.hypot(x, x[:, None]) - 0.55, 0) * 3
        alpha[:] = np.clip(128 + field * side * 4, 0, 255)
        return
    if kind < 0.4:
        for _ in range(rng.integers(1, 4)):
            ends = rng.uniform(0.05, 0.95, (2, 2)) * side
            thickness = max(1, int(side * rng.uniform(0.01, 0.08)))
            start, stop = np.rint(ends).astype(int)
            cv2.line(alpha, start.tolist(), stop.tolist(), 255, thickness, cv2.LINE_AA)
        return
    corners = 40 if kind < 0.6 else int(rng.integers(3, 12))
    irregularity = 0.0 if kind < 0.6 else rng.uniform(0.1, 0.7)
    points = side / 2 + side * 0.42 * np.clip(star_polygon(rng, corners, irregularity), -1.15, 1.15)
    cv2.fillPoly(alpha, [np.rint(points * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
