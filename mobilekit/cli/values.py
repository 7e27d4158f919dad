"""Values of the command line that need no more than their Python type.

typer has pydantic read every value, also the ``None`` of an option that was not given, and
importing that takes longer than all else of a short command.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

_PLAIN = {int: re.compile(r"\d{1,9}", re.ASCII), float: re.compile(r"\d{1,9}(\.\d+)?", re.ASCII)}
_NOT_PLAIN = object()


class PlainValues:
    """A command or a group that takes values as they are where they are plain; all else, what is
    wrong too, it leaves to typer."""

    def get_params(self, ctx: Any) -> list[Any]:
        """With the option that prints the help, which is made when it is asked for."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for each in parameters:
            if not isinstance(each.process_value, partial):
                each.process_value = partial(_process, each, each.process_value)
        return parameters


def _process(parameter: Any, otherwise: Callable[[Any, Any], Any], context: Any, value: Any) -> Any:
    # Earlier versions of typer, which read values without pydantic, do not describe them so.
    described = getattr(parameter, "type_descriptor", None)
    if described is None or (value is None and parameter.required):
        return otherwise(context, value)
    if value is None:
        plain: Any = () if parameter.multiple or parameter.nargs == -1 else None
    else:
        plain = _read(value, described.annotation, described.parameter_info)
    if plain is _NOT_PLAIN:
        return otherwise(context, value)
    return plain if parameter.callback is None else parameter.callback(context, parameter, plain)


def _read(value: Any, kind: Any, settings: Any) -> Any:
    if kind is bool or (kind in _PLAIN and not isinstance(value, str)):
        # A switch, or a default.
        return value if type(value) is kind else _NOT_PLAIN
    if get_origin(kind) is list and isinstance(value, (list, tuple)) and value:
        read = [_read(each, get_args(kind)[0], settings) for each in value]
        return _NOT_PLAIN if _NOT_PLAIN in read else read
    if not isinstance(value, str):
        return _NOT_PLAIN
    if kind is str:
        return value
    if kind is Path:
        return _NOT_PLAIN if settings.exists or settings.resolve_path else Path(value)
    if get_origin(kind) is Literal:
        return value if value in get_args(kind) else _NOT_PLAIN
    if kind in _PLAIN and _PLAIN[kind].fullmatch(value):
        number = kind(value)
        least, most = settings.min, settings.max
        if (least is None or least <= number) and (most is None or number <= most):
            return number
    return _NOT_PLAIN
