"""Being asked to stop: SIGTERM, which clusters send before they take a machine away."""

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STATUS = 128 + signal.SIGTERM
"""The exit status of a run that was asked to stop and saved itself: 143, as shells say it."""


class Stopped(Exception):
    """A run was asked to stop and has saved what it needs to go on; the message says where it stands."""


@contextmanager
def stop_signal() -> Iterator[Callable[[], bool]]:
    """Within, SIGTERM ends nothing: the function that is given says whether one has come."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set  # Python delivers signals to the main thread alone
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, before)


def ignore_stop_signal() -> None:
    """For helper processes, which a cluster signals too: they end when the run does."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def kill_helpers() -> None:
    """End the helper processes that are left: at an exit Python sends them SIGTERM, which they ignore, and waits."""
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()
