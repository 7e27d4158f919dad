"""What the program says of itself: version, help, and what a shell completes."""

import os
import shlex
import shutil
import subprocess
import sys

import pytest
from command_tree import COMMANDS, GROUPS

from mobilekit import __version__
from mobilekit.cli.main import COMMANDS as LISTED

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


def test_the_version_is_told(cli):
    outcome = cli("--version")

    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout == f"mobilekit {__version__}\n"


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_alone_is_a_question_for_its_help(cli, group):
    """It is answered as that: on standard output, without a word of an error."""
    words = group.split()[1:]
    alone = cli(*words)

    assert (alone.exit_code, alone.stderr) == (0, "")
    assert alone == cli(*words, "--help")
    assert all(f"\n  {name} " in alone.stdout for name in COMMANDS[group].commands)


@pytest.mark.parametrize("command", COMMANDS)
def test_h_is_help_everywhere(cli, command):
    """The command's own help, with every option that it has."""
    outcome = cli(*command.split()[1:], "-h")

    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout.startswith(f"Usage: {command} ")
    assert "-h, --help " in outcome.stdout
    for parameter in COMMANDS[command].params:
        if parameter.param_type_name == "option":
            assert parameter.opts[-1] in outcome.stdout


def test_what_is_no_option_is_refused(cli):
    """Where help is one letter, the others are not taken for it."""
    for words in (["-x"], ["devices", "-x"], ["results", "-x"]):
        refused = cli(*words)

        assert refused.exit_code == 2
        assert "No such option: -x" in refused.stderr
        assert refused.stdout == ""


# --- completion --------------------------------------------------------------------------------


@pytest.fixture
def complete(cli):
    """What bash is told for a line; the cursor is at its end."""

    def at_the_end(line):
        words = line.split(" ")
        outcome = cli(
            _MOBILEKIT_COMPLETE="complete_bash",
            COMP_WORDS=line.rstrip(),
            COMP_CWORD=str(len(words) - 1),
        )
        assert (outcome.exit_code, outcome.stderr) == (0, "")
        return outcome.stdout.split()

    return at_the_end


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mobilekit ", [*LISTED]),
        ("mobilekit de", ["deploy", "describe", "devices"]),
        ("mobilekit --version ", [*LISTED]),
        ("mobilekit results ", [*COMMANDS["mobilekit results"].commands]),
        ("mobilekit energy li", ["life"]),
        ("mobilekit deploy --f", ["--format", "--fast"]),
        ("mobilekit deploy nin --format ", ["auto", "pte", "onnx", "tflite"]),
        ("mobilekit results export last --format d", ["durations"]),
        # Its models may come before and after their options.
        ("mobilekit energy --fo", ["--format"]),
        ("mobilekit energy nin --fo", ["--format"]),
    ],
)
def test_commands_and_their_options_are_completed(complete, line, expected):
    """Those of a command too that is only listed until it is named."""
    assert complete(line) == expected


@needs_bash
def test_completion_is_installed_for_the_shell_that_asks(cli, tmp_path):
    """A new bash completes then; what is shown is what is installed."""
    program = tmp_path / "mobilekit"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m mobilekit "$@"\n')
    program.chmod(0o755)
    path = f"{tmp_path}:{cli.environment['PATH']}"
    environment = cli.environment | {"HOME": str(tmp_path), "PATH": path}

    def bash(script):
        return subprocess.run(
            ["bash", "--norc", "-c", script],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout

    # A last command would take the shell's place, and no shell be found.
    shown = bash("mobilekit --show-completion || exit; :")
    bash("mobilekit --install-completion || exit; :")
    told = bash(
        ". ~/.bashrc; COMP_WORDS=(mobilekit deploy --fa); COMP_CWORD=2;"
        " _mobilekit_completion mobilekit; echo ${COMPREPLY[@]}"
    )

    assert shown.strip() in (tmp_path / ".bash_completions/mobilekit.sh").read_text()
    assert told == "--fast\n"


# --- numpy -------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, "2"])
def test_numpy_starts_no_threads_for_a_prediction(given):
    """Unless somebody has said how many; and what is started later is left as it was."""
    name = "OPENBLAS_NUM_THREADS"
    # Which the tests set, and OpenBLAS heeds too.
    others = {name, "OMP_NUM_THREADS"}
    environment = {key: value for key, value in os.environ.items() if key not in others}
    code = (
        "import os, sys\n"
        "from mobilekit.cli.quick_numpy import import_numpy_without_threads\n"
        "import_numpy_without_threads()\n"
        f"print('numpy' in sys.modules, os.environ.get('{name}'))\n"
        "import numpy\n"
        "print(len(os.listdir('/proc/self/task')))"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | ({name: given} if given else {}),
        capture_output=True,
        text=True,
        check=True,
    )

    told, threads = ended.stdout.splitlines()
    assert told == ("True None" if given is None else f"False {given}")
    if given is None:
        assert threads == "1"


NOTING = """
import os, runpy, sys


class Noting:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            print("numpy is looked for with", os.environ.get("OPENBLAS_NUM_THREADS"))


sys.meta_path.insert(0, Noting())
sys.argv[0] = "mobilekit"
runpy.run_module("mobilekit", run_name="__main__")
"""


@pytest.mark.parametrize(
    "words",
    [("predict", "alexnet", "-d", "nexus7"), ("models", "-d", "nexus7")],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("given", [None, "2"])
def test_commands_that_predict_start_no_threads_of_numpys(cli, words, given):
    """It is first imported where they say so, and not by a module that they import before."""
    name = "OPENBLAS_NUM_THREADS"
    environment = {key: value for key, value in cli.environment.items() if key != name}

    ended = subprocess.run(
        [sys.executable, "-c", NOTING, *words],
        cwd=cli.directory,
        env=environment | ({name: given} if given else {}),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert ended.stdout.splitlines()[0] == f"numpy is looked for with {given or '1'}"
    assert "alexnet" in ended.stdout
