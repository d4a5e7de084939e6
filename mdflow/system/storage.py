"""Files that are there whole or not at all, whatever happens while they are written."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from mdflow.errors import InputError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says against writing to `path` (no space, read-only) into an InputError that names it."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"Cannot write to '{path}': {error.strerror or error}; make room or give another folder. "
            "What was saved before is whole."
        ) from error


def write_whole(path: Path, content: bytes, previous: Sequence[Path] = ()) -> None:
    """Write a file; until the new content is on the disk the old one stays.

    The old content then moves to previous[0], what was there to previous[1], and so on. Raises InputError when it
    cannot be written; nothing has changed then.
    """
    partial = path.with_name(path.name + ".partial")
    with writing(path):
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            partial.unlink(missing_ok=True)  # half a file would keep the disk full
            raise
        for newer, older in reversed(list(pairwise([path, *previous]))):
            if newer.exists():
                newer.replace(older)
        partial.replace(path)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names of a folder's files to the disk, so that a rename outlives a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
