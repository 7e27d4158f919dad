"""Keeps the export stacks' chatter away from the terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping


@contextlib.contextmanager
def quiet_python() -> Iterator[None]:
    """Drop warnings, log records below errors, and what is printed to standard output.

    Standard error is left alone: a progress display may be drawn there from another thread.
    """
    disabled = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(disabled)


@contextlib.contextmanager
def captured_stderr() -> Iterator[Callable[[], str]]:
    """Capture the process's standard error, C++ included; yields what reads it so far.

    A runtime explains there why it fails, and says things of no interest when it does not.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)

        try:
            # What C++ says through Python's own stream, too, wherever that leads.
            with os.fdopen(os.dup(2), "w") as stream, contextlib.redirect_stderr(stream):

                def read() -> str:
                    stream.flush()
                    size = os.fstat(file.fileno()).st_size
                    return os.pread(file.fileno(), size, 0).decode(errors="replace")

                yield read
        finally:
            os.dup2(saved, 2)
            os.close(saved)


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, from which libraries learn once how much to say."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
