"""What a camera makes of a scene: an open shutter, exposure, optics and noise, lossy compression."""

import cv2
import numpy as np

from mdflow.data.scenes.scene import Layer, View, flow_to, view

BLUR_STEP = 2.0  # pixels between the moments that make up an open shutter, at most for nearly all of the frame
MOST_MOMENTS = 16  # so that what is blurred farther than 32 px shows steps


def open_shutter(layers: list[Layer], shown: View, shutter: float) -> np.ndarray:
    """The mean image (H,W,3) of the scene while the shutter is open, for a share of a frame around the view's time.

    The view stays what is seen in the middle of the exposure: its flow and its occlusion are of that moment.
    """
    path = np.linalg.norm(flow_to(layers, shown, shown.time + shutter), axis=-1)
    length = np.percentile(path[np.isfinite(path)], 95)
    moments = int(np.clip(np.ceil(length / BLUR_STEP), 1, MOST_MOMENTS))
    times = shown.time + shutter * ((np.arange(moments) + 0.5) / moments - 0.5)
    return np.mean([view(layers, time, *shown.label.shape).image for time in times], axis=0)


def expose(image: np.ndarray, shared: np.random.Generator, own: np.random.Generator) -> np.ndarray:
    """Shading, exposure, defocus and noise; how strong is the sequence's, the rest the frame's own."""
    strength = shared.uniform(0, 1) ** 2
    height, width = image.shape[:2]
    shading = cv2.resize(own.standard_normal((3, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    gain = 1 + 0.08 * strength * shading[..., None] + 0.15 * strength * own.normal()
    tint = (1 + 0.04 * strength * own.normal(0, 1, 3)).astype(np.float32)
    image = image * gain * tint + 10 * strength * own.normal()
    gamma = float(np.exp(0.15 * strength * own.normal()))
    image = 255 * np.clip(image / 255, 0, 1) ** gamma
    blur = shared.uniform(0, 1.2) * (shared.random() < 0.4) + 0.3 * strength * own.random()
    if blur > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    noise = shared.uniform(0, 8) * (shared.random() < 0.5)
    return image + noise * own.normal(0, 1, image.shape) if noise else image


def compress(frame: np.ndarray, quality: int) -> np.ndarray:
    """The frame (H,W,3) uint8 after JPEG, colours at half the resolution: blocks and rings, as in a phone's video."""
    _, content = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(content, cv2.IMREAD_COLOR)[..., ::-1]
