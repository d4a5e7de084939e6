"""Pieces of large files, on a disk or behind a URL: only what is asked for is read."""

import http.client
import os
import time
import urllib.request
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from mdflow.errors import InputError

TRIES, PAUSE, PATIENCE = 4, 0.5, 60.0  # of a server: seconds, the pause doubles each time
OPEN_AT_ONCE = 64


def is_url(source: str) -> bool:
    """Whether a source is read over HTTP."""
    return source.startswith(("http://", "https://"))


class Ranges:
    """Reads pieces of files by source, a path or an http(s) URL; keeps the last OPEN_AT_ONCE files open."""

    def __init__(self) -> None:
        self.opened: OrderedDict[str, int] = OrderedDict()
        self.process = os.getpid()

    def __getstate__(self) -> dict:
        return {}

    def __setstate__(self, state: dict) -> None:
        self.__init__()

    def read(self, source: str, start: int, size: int) -> bytes:
        """`size` bytes from `start` on; InputError when they are not there."""
        return fetch(source, start, size) if is_url(source) else self.read_file(source, start, size)

    def read_file(self, source: str, start: int, size: int) -> bytes:
        """A piece of a file on a disk."""
        try:
            descriptor = self.descriptor(source)
            if start + size > os.fstat(descriptor).st_size:
                raise InputError(f"{source} is shorter than its index says; copy it again or delete its index.")
            return os.pread(descriptor, size, start)
        except OSError as error:
            raise InputError(f"{source} cannot be read: {error.strerror or error}.") from error

    def descriptor(self, source: str) -> int:
        """The open file; the one used longest ago is closed when there are too many."""
        if source not in self.opened:
            self.opened[source] = os.open(source, os.O_RDONLY)
        self.opened.move_to_end(source)
        if len(self.opened) > OPEN_AT_ONCE:
            os.close(self.opened.popitem(last=False)[1])
        return self.opened[source]


def fetch(url: str, start: int, size: int) -> bytes:
    """A piece of what a server has, asked for again when the line breaks; InputError when it does not come."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-{start + size - 1}"})

    def read() -> bytes:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            if answer.status != 206:
                raise InputError(f"{url} comes only as a whole; expected a server that answers range requests.")
            content = answer.read(size)
        if len(content) < size:
            raise http.client.IncompleteRead(content, size - len(content))
        return content

    return patiently(read, url)


def whole(source: str) -> bytes:
    """A small file or document at once."""
    if is_url(source):

        def read() -> bytes:
            with urllib.request.urlopen(source, timeout=PATIENCE) as answer:
                return answer.read()

        return patiently(read, source)
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error}.") from error


def patiently(read: Callable[[], bytes], url: str) -> bytes:
    """What `read` gives, tried again when the line breaks; InputError when it always does."""
    for attempt in range(TRIES):
        try:
            return read()
        except (OSError, http.client.HTTPException) as error:
            trouble = str(error)
        time.sleep(PAUSE * 2**attempt)
    raise InputError(f"{url} cannot be read: {trouble}; tried {TRIES} times.")
