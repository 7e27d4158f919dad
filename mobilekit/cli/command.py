"""What holds for every command of ours: options in records, and none of them given twice."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand

from mobilekit.cli.values import PlainValues
from mobilekit.errors import UsageError

Function = TypeVar("Function", bound=Callable[..., None])


class Commands(typer.Typer):
    """Where our commands are registered: each as its function says, with ``spread_options``."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Function], Function]:
        register = super().command(name, cls=_Command, **settings)

        def add(function: Function) -> Function:
            register(spread_options(function))
            return function

        return add


def spread_options(function: Callable[..., None]) -> Callable[..., None]:
    """The function with the fields of each record of options as parameters, in the record's place.

    A record is a parameter whose type is a dataclass. typer reads the parameters' types, defaults
    and options from the signature, and calls with all of them by name.
    """
    signature = inspect.signature(function, eval_str=True)
    records: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        kind = parameter.annotation
        if isinstance(kind, type) and is_dataclass(kind):
            records[parameter.name] = kind
            parameters += inspect.signature(kind, eval_str=True).parameters.values()
        else:
            parameters.append(parameter)

    @wraps(function)
    def call(**values: Any) -> None:
        for name, record in records.items():
            values[name] = record(**{each.name: values.pop(each.name) for each in fields(record)})
        function(**values)

    named = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    call.__signature__ = signature.replace(parameters=named)  # type: ignore[attr-defined]
    return call


class _Command(PlainValues, TyperCommand):
    """Refuses an option that is given twice, where the last would win without a word."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            _, _, given = self.make_parser(ctx).parse_args(list(args))
            # Whoever asks for help gets it.
            if not any(each.is_eager for each in given):
                _refuse_repeated(given)
        return super().parse_args(ctx, args)


def _refuse_repeated(given: list[Any]) -> None:
    for option in dict.fromkeys(given):
        if option.param_type_name != "option" or option.multiple or given.count(option) == 1:
            continue
        spellings = "/".join(option.opts[:1] + option.secondary_opts[:1])
        raise UsageError(f"{spellings} is given more than once", fix="Give it once.")


def find_given(context: typer.Context, names: Collection[str]) -> list[str]:
    """Which of these parameters the command line itself sets, as it writes them: what a variable of
    the environment sets holds for every command, and is asked of none."""
    given = []
    for each in context.command.params:
        source = context.get_parameter_source(each.name or "")
        if each.name in names and source is not None and source.name == "COMMANDLINE":
            is_off = each.secondary_opts and context.params[each.name] is False
            given.append((each.secondary_opts if is_off else each.opts)[0])
    return given
