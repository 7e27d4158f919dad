"""What ends a run, and the code that a failure gets.

The rule is the contract's (**Failures** in ``mobilekit.contract.protocol``);
``tests/vectors/failures.json`` lists what follows from it.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from mobilekit.contract.protocol import FailureCode
from mobilekit.runner.engine import EngineError, TracingUnavailableError


class RunStopped(Exception):  # noqa: N818 - as the app calls it
    """Ends a run as a ``RunFailure``."""

    def __init__(self, code: FailureCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def stopped_by(error: Exception) -> RunStopped:
    """What to tell of a run that ended with any error."""
    if isinstance(error, RunStopped):
        return error
    return RunStopped(_code_anywhere(error) or "internal", _words(error))


@contextmanager
def engine_does(code: FailureCode) -> Iterator[None]:
    """What is thrown within is the engine's: ``RunStopped`` with ``code``, if it means no other.

    A runtime throws what it likes, which is not known here.
    """
    try:
        yield
    except (RunStopped, TracingUnavailableError):
        raise
    except Exception as error:
        raise RunStopped(_code_anywhere(error) or code, _words(error)) from error


def inferring() -> AbstractContextManager[None]:
    return engine_does("inference_failed")


def _code_anywhere(error: Exception) -> FailureCode | None:
    """Of what means the same wherever it comes from."""
    if isinstance(error, MemoryError):
        return "out_of_memory"
    if isinstance(error, ImportError):
        # Only engines are imported while a run is under way.
        return "engine_missing"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "storage_full"
    return None


def _words(error: Exception) -> str:
    """A runtime's own words; of anything else its kind too."""
    text = str(error)
    if not isinstance(error, (EngineError, OSError, ImportError)):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    # A lone surrogate, as a runtime's message or a path may hold, has no UTF-8.
    return re.sub("[\ud800-\udfff]", "\ufffd", text)
