"""How the threads of one operation wait for each other."""

import os

SPINS = "1000"  # looks at what a thread waits for before it sleeps


def wait_asleep() -> None:
    """Let waiting threads leave their cores to whoever has work; to be called before torch is imported.

    GNU's OpenMP lets them look for milliseconds. Where something else runs too, a loader's worker or a browser, they so
    hold up the very thread that they wait for: on two cores beside another process a network takes two to ten times as
    long (docs/speed.md). What the environment says of this already is left as it is.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
