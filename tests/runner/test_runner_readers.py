"""What the runner reads of its own memory."""

import ctypes
import sys

import pytest

from mobilekit.runner.readers import read_memory

BLOCK_BYTES, BLOCKS = 64 << 10, 640


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_what_was_freed_is_in_the_peak_alone():
    """malloc keeps it as long as a later block is in use."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    if not hasattr(libc, "malloc_trim"):
        pytest.skip("another allocator")
    read_memory(0, "closed")
    before = read_memory(0, "closed")

    blocks = [libc.malloc(BLOCK_BYTES) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK_BYTES)
    *freed, last = blocks
    for block in freed:
        libc.free(block)
    after = read_memory(0, "loaded")
    libc.free(last)

    size_bytes = BLOCK_BYTES * BLOCKS
    assert after.rss_bytes - before.rss_bytes < size_bytes / 4
    assert after.peak_rss_bytes is None or (
        after.peak_rss_bytes - before.rss_bytes > size_bytes * 3 / 4
    )
