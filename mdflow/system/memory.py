"""How the process gets its memory from the system."""

import ctypes
import sys

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
LARGEST = 2**31 - 1


def keep_pages() -> bool:
    """Let the C library keep what was freed for what comes next; whether it can (glibc).

    Feature maps have tens of megabytes, and by default each is mapped from the system and given back, with a fault for
    every page that is touched: 4 to 30 % of the time of a network on a CPU (docs/speed.md). The process stays as large
    as it ever was; so this is for whoever owns the process, as commands do, not for a library that is imported.
    """
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    return bool(library.mallopt(M_MMAP_MAX, 0) and library.mallopt(M_TRIM_THRESHOLD, LARGEST))
