"""A group of commands, as every group of ours behaves."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

from mobilekit.cli.values import PlainValues


class Group(PlainValues, TyperGroup):
    """Called alone it prints its help and ends with 0, as if it had been asked for it.

    typer's ``no_args_is_help`` prints it too, but as an error.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            args = [ctx.help_option_names[0]]
        return super().parse_args(ctx, args)
