"""Frames of a video file by number, exact, whatever its frame rate and its key frames (PyAV)."""

import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

from mdflow.errors import InputError

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv", ".flv")
REMEMBERED_BYTES = 2**27

# Containers that hold their frames themselves. FFmpeg also knows text files that name other files or addresses,
# and takes them for what they are whatever their name: those are not opened.
CONTAINERS = "mov,matroska,avi,mpeg,mpegvideo,mpegts,asf,flv,ogg,mxf,gif,yuv4mpegpipe"


class Video:
    """A sequence of frames (H,W,3) uint8 RGB: len(video), video[number].

    The time stamps of all packets are listed once; a frame is reached by seeking to the key frame before it
    and decoding until its time stamp, or by decoding on where that is nearer. Frames passed on the way are
    remembered, up to `remembered` bytes. Rotation flags are followed; of interlaced frames the first field is
    used, its lines interpolated. Pixels are taken as square. Opened on first use, in whichever process that
    is. Raises InputError when the file is no video, and at a frame that does not decode.
    """

    def __init__(self, path: Path | str, remembered: int = REMEMBERED_BYTES):
        self.path = Path(path)
        self.remembered = remembered
        self.times, self.keys = list_time_stamps(self.path)
        self.close()

    def close(self) -> None:
        """Give back the file, the decoder and the remembered frames; the next use opens the file again."""
        if "container" in self.__dict__:
            self.__dict__.pop("container").close()
        self.frames: OrderedDict[int, av.VideoFrame] = OrderedDict()
        self.decoded: Iterator[av.VideoFrame] = iter(())
        self.position = -1
        self.process = os.getpid()

    def __getstate__(self) -> dict:
        return {key: self.__dict__[key] for key in ("path", "remembered", "times", "keys")}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self.close()

    @cached_property
    def container(self) -> av.container.InputContainer:
        """The open file."""
        return open_video(self.path)

    @property
    def seconds(self) -> np.ndarray:
        """The time of each frame."""
        return np.array(self.times) * float(self.container.streams.video[0].time_base)

    def notes(self) -> list[str]:
        """What a person should know about the clip: where its frames are not simply what the file holds."""
        frame = next(decode(open_video(self.path)), None)
        aspect = self.container.streams.video[0].sample_aspect_ratio
        gaps = np.diff(self.times)
        found = {
            "interlaced: the first field of each frame is used": frame is not None and frame.interlaced_frame,
            f"turned by {frame.rotation if frame else 0} degrees, as its flag says": frame and frame.rotation,
            f"its pixels are {aspect} times as wide as high; they are taken as square": aspect not in (None, 0, 1),
            "variable frame rate": gaps.size > 0 and gaps.max() > 1.5 * np.median(gaps),
        }
        return [note for note, holds in found.items() if holds]

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, number: int) -> np.ndarray:
        return upright(self.frame(number))

    def frame(self, number: int) -> av.VideoFrame:
        """The frame as decoded: not rotated, not converted, with its flags."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        if self.process != os.getpid():
            # A forked process shares the place in the file with its parent: it opens the file for itself.
            self.close()
        if number not in self.frames:
            self._decode(number)
        if number not in self.frames:
            raise InputError(f"Frame {number} of {self.path} does not decode: the file is damaged there.")
        self.frames.move_to_end(number)
        return self.frames[number]

    def _decode(self, number: int) -> None:
        """Bring the frame into `frames` if it decodes."""
        key = bisect_right(self.keys, number) - 1
        if not self.keys[key] <= self.position < number:
            self._seek(key)
        # A seek may end after the frame that it was asked for: then from the key frame before, at last from
        # the start.
        while self._decode_until(number) > number and key > 0:
            key -= 1
            self._seek(key)

    def _seek(self, key: int) -> None:
        """Go on decoding from a key frame; from the first by opening the file anew, which never fails."""
        if key == 0:
            frames = self.frames
            self.close()
            self.frames = frames
        else:
            self.container.seek(self.times[self.keys[key]], stream=self.container.streams.video[0])
        self.decoded = decode(self.container)

    def _decode_until(self, number: int) -> int:
        """Decode up to the frame of that number; gives the number of the first that came, or the length."""
        first = len(self)
        for frame in self.decoded:
            # Time stamps are in order, so this is where a frame stands; one that no packet announced is
            # dropped.
            place = bisect_right(self.times, frame.pts) - 1
            if place < 0 or self.times[place] != frame.pts:
                continue
            first = min(first, place)
            self.position = place
            self._remember(place, frame)
            if place >= number:
                return first
        self.position = len(self)
        return first

    def _remember(self, number: int, frame: av.VideoFrame) -> None:
        """Keep a decoded frame, and let the least recently used ones go."""
        self.frames[number] = frame
        self.frames.move_to_end(number)
        while len(self.frames) > max(self.remembered // sum(plane.buffer_size for plane in frame.planes), 2):
            self.frames.popitem(last=False)


def open_video(path: Path) -> av.container.InputContainer:
    """The file opened for decoding its first video stream; InputError when there is none."""
    try:
        # Absolute: FFmpeg takes what stands before a colon for a protocol.
        container = av.open(
            str(path.absolute()), options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
        )
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"{path} cannot be opened as a video: {error.strerror or error}.") from error
    if not container.streams.video or container.streams.video[0].codec_context is None:
        container.close()
        raise InputError(f"{path} has no video stream that can be decoded; save it as .mp4 (H.264).")
    # Threads do not survive a fork: freeing a decoder or converter in a loader's worker would wait for ever.
    container.streams.video[0].codec_context.thread_count = 1
    return container


def duration(path: Path) -> float | None:
    """How many seconds the file says that it lasts, without reading its frames; None when it does not say."""
    with open_video(path) as container:
        return None if container.duration is None else container.duration / av.time_base


def list_time_stamps(path: Path) -> tuple[list[int], list[int]]:
    """Time stamps of all frames in order, and the numbers of the frames where decoding can begin."""
    with open_video(path) as container:
        shown = [packet for packet in packets(container) if packet.size and not packet.is_discard]
        stamps = [(packet.pts, packet.is_keyframe) for packet in shown]
    if any(time is None for time, _ in stamps):
        raise InputError(f"{path} has frames without time stamps; save it as .mp4, for example with ffmpeg.")
    if not stamps:
        raise InputError(f"{path} holds no frame; it is empty or cut off before its first.")
    refuse_wrong_order(path)
    times = sorted({time for time, _ in stamps})
    keys = {time for time, key in stamps if key}
    return times, sorted({0} | {number for number, time in enumerate(times) if time in keys})


def refuse_wrong_order(path: Path) -> None:
    """Raise InputError for an .avi whose time stamps follow the coding order (H.264 with B-frames)."""
    with open_video(path) as container:
        if container.format.name == "avi":
            times = [frame.pts for frame in islice(decode(container), 32)]
            if times != sorted(times):
                raise InputError(f"{path} has time stamps out of order; save it as .mp4, for example with ffmpeg.")


def packets(container: av.container.InputContainer) -> Iterator[av.Packet]:
    """The packets of the first video stream up to where the file breaks off, the flushing one included."""
    stream = container.streams.video[0]
    try:
        yield from container.demux(stream)
    except av.error.FFmpegError:
        # The rest is not there: those frames are not listed, or raise InputError when they are asked for.
        return


def decode(container: av.container.InputContainer) -> Iterator[av.VideoFrame]:
    """The frames from here on, those of damaged packets left out."""
    for packet in packets(container):
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            # Whoever asks for this frame is told; the others are still good.
            continue
        yield from (frame for frame in frames if not frame.is_corrupt and frame.pts is not None)


def upright(frame: av.VideoFrame) -> np.ndarray:
    """The frame as RGB (H,W,3) uint8, deinterlaced and turned as its flags say."""
    image = frame.to_ndarray(format="rgb24", threads=1)
    if frame.interlaced_frame:
        image = cv2.resize(image[::2], (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))
