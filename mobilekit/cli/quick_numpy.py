"""A quick start of numpy, for commands that are over at once."""

from __future__ import annotations

import os

_THREADS = "OPENBLAS_NUM_THREADS"


def import_numpy_without_threads() -> None:
    """Import numpy so that OpenBLAS starts no thread for each of the computer's cores.

    A prediction's products are too small to gain by them, and wait for them where other programs
    use the cores. OpenBLAS reads the variable once, so that no process that is started later finds
    it set; a value that somebody has given stays.
    """
    if _THREADS in os.environ:
        return
    os.environ[_THREADS] = "1"
    try:
        import numpy  # noqa: F401
    finally:
        del os.environ[_THREADS]
