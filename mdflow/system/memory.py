"""How the process gets its memory from the system, and what Python looks for in it."""

import ctypes
import gc
import os
import sys
from pathlib import Path

# Of glibc's malloc.h, and of Linux.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
MADV_HUGEPAGE = 14
OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")


def keep_pages() -> bool:
    """Let the C library keep what was freed for what comes next, in huge pages; whether it can (glibc).

    Feature maps have tens of megabytes, and by default each is mapped from the system and given back, with a fault for
    every page that is touched: 4 to 30 % of the time of a network on a CPU; in pages of 2 MB a training step takes an
    eighth less again (docs/speed.md). The process stays as large as it ever was; so this is for whoever owns the
    process, as commands do, not for a library that is imported.
    """
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    kept = library.mallopt(M_MMAP_MAX, 0) and library.mallopt(M_TRIM_THRESHOLD, -1)
    if kept:
        ask_for_huge_pages(library)
    return bool(kept)


def ask_for_huge_pages(library: ctypes.CDLL) -> None:
    """Let the heap have as many addresses as half of the machine's memory, of huge pages where the system gives such.

    What the heap gets of them later would have plain ones again. Only what is touched takes memory; not so where the
    system is told to count addresses as memory, so there nothing is asked for.
    """
    if OVERCOMMIT.exists() and OVERCOMMIT.read_text().strip() == "2":
        return
    page = os.sysconf("SC_PAGE_SIZE")
    size = os.sysconf("SC_PHYS_PAGES") // 2 * page
    library.malloc.restype = ctypes.c_void_p
    start = library.malloc(ctypes.c_size_t(size))
    if start is None:  # as where a process may have no more than so much
        return
    first = -(-start // page) * page
    library.madvise(ctypes.c_void_p(first), ctypes.c_size_t(size - page), MADV_HUGEPAGE)
    library.free(ctypes.c_void_p(start))


def keep_objects() -> None:
    """Let Python look for garbage only among what is made from now on.

    The modules of torch are some hundred thousand objects, and to look through them takes as long as a training step.
    """
    gc.freeze()
