"""Parses the part of the POSIX shell language that the virtual phone understands.

Quoting, ``;`` ``&&`` ``||`` ``|``, redirections, assignments, ``$NAME``, ``${NAME}``, ``$1``,
``$@`` and ``$?``.
No control flow, no substitution of commands, no background jobs.
"""

from __future__ import annotations

import re
from typing import Literal

from mobilekit.contract.codec import Record

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*|[?$#@*0-9])")
BRACED_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*|[0-9]+|[?$#@*])\}")
BLANKS = " \t"
OPERATORS = ("&&", "||", ";", "|", "\n")
Operator = Literal["&&", "||", ";"]


class ShellSyntaxError(Exception):
    """A line that is not of this language."""


class UnfinishedError(ShellSyntaxError):
    """A line that would go on: a quote or an operator is open at its end."""


class Piece(Record, frozen=True):
    """A part of a word: its text, or the variable of that name."""

    text: str
    quoted: bool
    variable: bool = False


Word = tuple[Piece, ...]


class Redirection(Record, frozen=True):
    descriptor: int
    kind: Literal["<", ">", ">>", ">&"]
    target: Word


class Command(Record, frozen=True):
    assignments: tuple[tuple[str, Word], ...]
    words: tuple[Word, ...]
    redirections: tuple[Redirection, ...]


class Step(Record, frozen=True):
    """Commands joined by pipes, and how they hang on the step before."""

    operator: Operator
    pipeline: tuple[Command, ...]


def parse(text: str) -> tuple[Step, ...]:
    """Raises ``ShellSyntaxError``."""
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def parse(self) -> tuple[Step, ...]:
        steps: list[Step] = []
        pipeline: list[Command] = []
        operator: Operator = ";"
        while True:
            command = self._command()
            found = self._operator()
            if command is not None:
                pipeline.append(command)
            elif pipeline or operator != ";" or found in ("|", "&&", "||"):
                if found == "\n":
                    continue  # A pipeline may go on after a line end.
                if found is None:
                    raise UnfinishedError("syntax error: unexpected end")
                raise ShellSyntaxError(f"syntax error: unexpected '{found}'")
            if found == "|":
                continue
            if pipeline:
                steps.append(Step(operator=operator, pipeline=tuple(pipeline)))
                pipeline = []
            if found is None:
                return tuple(steps)
            operator = "&&" if found == "&&" else "||" if found == "||" else ";"

    def _peek(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _skip_blanks(self) -> None:
        while self._at < len(self._text):
            if self._peek("\\\n"):
                self._at += 2
            elif self._text[self._at] in BLANKS:
                self._at += 1
            else:
                break
        if self._peek("#"):
            end = self._text.find("\n", self._at)
            self._at = len(self._text) if end < 0 else end

    def _operator(self) -> str | None:
        """The operator that ended a command; ``None`` at the end of the text."""
        for operator in OPERATORS:
            if self._peek(operator):
                self._at += len(operator)
                return operator
        if self._at < len(self._text):
            character = self._text[self._at]
            if character == "&":
                raise ShellSyntaxError("background jobs are not supported")
            raise ShellSyntaxError(f"syntax error: unexpected '{character}'")
        return None

    def _command(self) -> Command | None:
        assignments: list[tuple[str, Word]] = []
        words: list[Word] = []
        redirections: list[Redirection] = []
        while True:
            self._skip_blanks()
            redirection = self._redirection()
            if redirection is not None:
                redirections.append(redirection)
                continue
            name = NAME.match(self._text, self._at)
            if not words and name and self._text.startswith("=", name.end()):
                self._at = name.end() + 1
                assignments.append((name[0], self._word()))
                continue
            start = self._at
            word = self._word()
            if self._at == start:
                break
            words.append(word)
        if not (assignments or words or redirections):
            return None
        return Command(
            assignments=tuple(assignments),
            words=tuple(words),
            redirections=tuple(redirections),
        )

    def _redirection(self) -> Redirection | None:
        match = re.compile(r"([0-9]?)(>>|>&|<|>)").match(self._text, self._at)
        if match is None:
            return None
        if self._text.startswith(("<", "(", "&"), match.end()):
            raise ShellSyntaxError(f"syntax error: unexpected '{self._text[match.end()]}'")
        self._at = match.end()
        self._skip_blanks()
        target = self._word()
        if not target:
            raise ShellSyntaxError("syntax error: unexpected end of redirection")
        kind = match[2]
        assert kind in ("<", ">", ">>", ">&")
        default = 0 if kind == "<" else 1
        return Redirection(
            descriptor=int(match[1] or default),
            kind=kind,  # type: ignore[arg-type]
            target=target,
        )

    def _word(self) -> Word:
        pieces: list[Piece] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            if character in BLANKS or character in ";|&<>()\n":
                break
            if character == "'":
                pieces.append(Piece(text=self._until_quote(), quoted=True))
            elif character == '"':
                self._at += 1
                pieces += self._double_quoted()
            elif character == "$":
                pieces.append(self._dollar(quoted=False))
            elif character == "`":
                raise ShellSyntaxError("substitution of commands is not supported")
            elif character == "\\":
                if self._at + 1 >= len(self._text):
                    raise UnfinishedError("syntax error: unexpected end after '\\'")
                if not self._peek("\\\n"):
                    pieces.append(Piece(text=self._text[self._at + 1], quoted=True))
                self._at += 2
            else:
                plain = re.compile(r"[^ \t\n;|&<>()'\"$`\\]+").match(self._text, self._at)
                assert plain is not None
                pieces.append(Piece(text=plain[0], quoted=False))
                self._at = plain.end()
        return tuple(pieces)

    def _until_quote(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise UnfinishedError("syntax error: no closing quote")
        text = self._text[self._at + 1 : end]
        self._at = end + 1
        return text

    def _double_quoted(self) -> list[Piece]:
        pieces = [Piece(text="", quoted=True)]  # So that "" is a word.
        while True:
            if self._at >= len(self._text):
                raise UnfinishedError("syntax error: no closing quote")
            character = self._text[self._at]
            if character == '"':
                self._at += 1
                return pieces
            if character == "$":
                pieces.append(self._dollar(quoted=True))
                continue
            if character == "`":
                raise ShellSyntaxError("substitution of commands is not supported")
            if character == "\\" and self._text[self._at + 1 : self._at + 2] in tuple('$`"\\\n'):
                self._at += 1
                character = "" if self._peek("\n") else self._text[self._at]
            pieces.append(Piece(text=character, quoted=True))
            self._at += 1

    def _dollar(self, *, quoted: bool) -> Piece:
        braced = BRACED_VARIABLE.match(self._text, self._at)
        plain = VARIABLE.match(self._text, self._at)
        match = braced or plain
        if match is not None:
            self._at = match.end()
            return Piece(text=match[1], quoted=quoted, variable=True)
        if self._peek("$(") or self._peek("${"):
            raise ShellSyntaxError("substitution of commands is not supported")
        self._at += 1
        return Piece(text="$", quoted=quoted)
