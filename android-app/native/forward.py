"""Writes a jump to glibc for each name that the phone's libraries want of Android's.

    python3 forward.py MACHINE OWN.o "LIBC LIBM" OUT.S LIBRARY...

What ``OWN.o`` (bionic.c) defines is left out. A name that neither has is an error: a library that
is newer than ``bionic.c`` shows at its build, not when it is called.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

JUMPS = {
    "x86_64": "    jmp *forwarded+{offset}(%rip)",
    "aarch64": "    adrp x16, forwarded+{offset}\n"
    "    ldr x16, [x16, #:lo12:forwarded+{offset}]\n"
    "    br x16",
}
WORD_BYTES = 8


def _lines(*command: str) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def wanted_names(library: str) -> set[str]:
    """What a library wants of Android's C library; raises ``SystemExit`` for what is no function,
    and that ``bionic.c`` does not have."""
    names = set()
    for line in _lines("readelf", "--dyn-syms", "--wide", library):
        fields = line.split()
        if len(fields) < 8 or not fields[0].rstrip(":").isdigit() or fields[6] != "UND":
            continue
        name, _, version = fields[7].partition("@")
        if not version.startswith("LIBC"):
            continue
        if fields[3] == "OBJECT" and name not in OWN_DATA:
            raise SystemExit(f"{library} wants {name}, which is no function: bionic.c must have it")
        names.add(name)
    return names


def defined_names(library: str, *flags: str) -> set[str]:
    lines = _lines(
        "nm", "--defined-only", "--extern-only", "--format=just-symbols", *flags, library
    )
    return {line.partition("@")[0] for line in lines}


OWN_DATA = {"__sF", "stdin", "stdout", "stderr"}


def assembly(machine: str, names: list[str]) -> str:
    jump = JUMPS[machine]
    functions = "".join(
        f"    .globl {name}\n    .type {name}, %function\n    .p2align 3\n"
        f"{name}:\n{jump.format(offset=WORD_BYTES * index)}\n    .size {name}, .-{name}\n"
        for index, name in enumerate(names)
    )
    pointers = "".join(f"    .quad name_{index}\n" for index in range(len(names)))
    texts = "".join(f'name_{index}: .asciz "{name}"\n' for index, name in enumerate(names))
    return (
        f"    .text\n{functions}"
        "    .bss\n    .globl forwarded\n    .hidden forwarded\n    .p2align 3\n"
        f"forwarded:\n    .zero {WORD_BYTES * len(names)}\n"
        '    .section .data.rel.ro,"aw"\n    .p2align 3\n    .globl forwarded_names\n'
        f"    .hidden forwarded_names\nforwarded_names:\n{pointers}"
        "    .section .rodata\n    .globl forwarded_count\n    .hidden forwarded_count\n"
        f"    .p2align 2\nforwarded_count:\n    .long {len(names)}\n{texts}"
        '    .section .note.GNU-stack,"",%progbits\n'
    )


def main(machine: str, own: str, glibc: str, out: str, *libraries: str) -> None:
    wanted = set().union(*(wanted_names(library) for library in libraries)) - defined_names(own)
    had = set().union(*(defined_names(library, "--dynamic") for library in glibc.split()))
    lacking = sorted(wanted - had)
    if lacking:
        raise SystemExit(f"glibc has no {', '.join(lacking)}: bionic.c must have what it lacks")
    Path(out).write_text(assembly(machine, sorted(wanted)), encoding="ascii")


if __name__ == "__main__":
    main(*sys.argv[1:])
