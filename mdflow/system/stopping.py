"""Being asked to stop: by SIGTERM, which clusters send before they take a machine away, or by Ctrl+C (SIGINT)."""

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STATUS = 128 + signal.SIGTERM
"""The exit status of a run that was asked to stop and saved itself: 143, as shells say it."""

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):
    """A run was asked to stop and has saved what it needs to go on; the message says where it stands."""


@contextmanager
def stop_signal() -> Iterator[Callable[[], bool]]:
    """Within, a signal ends nothing: the function that is given says whether one has come. A second Ctrl+C does.

    Clusters may send SIGTERM twice. A signal that was ignored still is, as jobs in the background ignore Ctrl+C.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set  # Python delivers signals to the main thread alone
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}

    def note(number: int, _: object) -> None:
        asked.set()
        if number == signal.SIGINT:
            signal.signal(number, before[number])

    for number in before:
        signal.signal(number, note)
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_stop_signal() -> None:
    """For helper processes, which a cluster or a terminal signals too: they end when the run does."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def kill_helpers() -> None:
    """End the helper processes that are left: at an exit Python sends them SIGTERM, which they ignore, and waits."""
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()
