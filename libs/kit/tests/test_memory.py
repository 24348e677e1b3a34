"""What was free between small things that stay is not ours any more."""

from __future__ import annotations

import ctypes
import subprocess
import sys

SMALL, COUNT = 64 * 1024, 1000
# Blocks of 64 KiB, small ones that stay between them; the large ones are freed.
HOLEY = f"""
import ctypes, psutil
from driftloop_kit.memory import hold_little, trim
hold_little()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
large, small = [], []
for _ in range({COUNT}):
    large.append(libc.malloc({SMALL})), small.append(libc.malloc(100))
    libc.memset(large[-1], 1, {SMALL})
for block in large:
    libc.free(block)
rss = psutil.Process().memory_info().rss
trim()
print(rss - psutil.Process().memory_info().rss)
"""


def test_holes_in_the_heap_are_given_back() -> None:
    given_back = int(subprocess.run([sys.executable, "-c", HOLEY], capture_output=True, check=True, timeout=60).stdout)
    is_glibc = hasattr(ctypes.CDLL(None), "malloc_trim")
    assert given_back > (SMALL * COUNT / 2 if is_glibc else -SMALL)
