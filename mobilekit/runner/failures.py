"""Why a run cannot go on."""

from __future__ import annotations

from mobilekit.contract.protocol import FailureCode


class RunStopped(Exception):  # noqa: N818 - as the app calls it
    """Ends a run as a ``RunFailure``."""

    def __init__(self, code: FailureCode, message: str) -> None:
        super().__init__(message)
        self.code = code
