"""Options of every command: declared once, and none given twice without a word."""

import pytest
from command_tree import COMMANDS, GROUPS
from typer.testing import CliRunner

from mobilekit.cli.main import app
from mobilekit.cli.options import DeviceOptions, PresetOptions, RunOptions, deploy_options
from mobilekit.errors import UsageError


def lines_with_one_twice():
    """For each option of each command, a line that has it in its first and its last spelling."""
    for name, command in COMMANDS.items():
        if name in GROUPS:
            continue
        for option in command.params:
            if option.param_type_name != "option" or option.is_eager or option.multiple:
                continue
            first, last = option.opts[0], (*option.opts, *option.secondary_opts)[-1]
            value = [] if option.is_flag else ["1"]
            words = name.split()[1:]
            yield pytest.param(first, [*words, first, *value, last, *value], id=f"{name} {first}")


@pytest.mark.parametrize(("option", "words"), list(lines_with_one_twice()))
def test_no_option_is_dropped_without_a_word(option, words):
    """An option that takes one value and is given two is a usage error, in every command."""
    result = CliRunner().invoke(app, words)

    assert isinstance(result.exception, UsageError)
    assert result.exception.what.startswith(option)
    assert result.exception.what.endswith(" is given more than once")


def test_the_second_spelling_counts(cli):
    """The long and the short, and a switch with its opposite; the program ends with 2."""
    short = cli("profile", "tiny.py", "--device", "nexus7", "-d", "pc")
    opposite = cli("energy", "--no-install", "tiny.py", "--install")

    assert short.exit_code == opposite.exit_code == 2
    assert "Error: --device is given more than once." in short.stderr
    assert "--install/--no-install is given more than once" in opposite.stderr


def test_help_is_given_in_any_case():
    """Whoever asks for help with a line that is wrong gets it."""
    result = CliRunner().invoke(app, ["deploy", "--fast", "--fast", "--help"])

    assert result.exit_code == 0
    assert "Usage" in result.stdout


@pytest.mark.parametrize("name", ["deploy", "evaluate", "profile", "compare", "energy measure"])
def test_shared_options_are_the_same_everywhere(name):
    """What one command that measures says of an option, the others do: spellings, default, help."""
    shared = {"apk", "install", "require_phone", "weights", "threads", "format"}
    # That alone takes several devices.
    shared |= set() if name == "deploy" else {"device"}

    def told(command):
        return {
            item.name: (item.opts, item.default, item.help, item.envvar)
            for item in command.params
            if item.name in shared
        }

    assert set(told(COMMANDS[f"mobilekit {name}"])) == shared
    assert told(COMMANDS[f"mobilekit {name}"]) == told(COMMANDS["mobilekit evaluate"])


def test_a_record_of_options_refuses_what_excludes_each_other(tmp_path):
    """Whichever command it is of."""
    with pytest.raises(UsageError, match="--fast and --rigorous"):
        PresetOptions(fast=True, rigorous=True)
    with pytest.raises(UsageError, match="--apk and --no-install"):
        DeviceOptions(apk=tmp_path, install=False)


CUT = '"ranks": [{"layer": "a", "rank": 3}]'
WHITENED, INT8, PLAIN = (
    f'{{"schema": "mobilekit.compressed/1", "model": "nin", "precision": "{precision}", '
    f'"compression": {compression}}}'
    for precision, compression in (
        ("fp32", f'{{{CUT}, "whitened_by": "{"e" * 64}"}}'),
        ("int8", "null"),
        ("fp32", f"{{{CUT}}}"),
    )
)


@pytest.mark.parametrize(
    ("compressed", "precision", "calibrated"),
    [
        pytest.param(WHITENED, "fp32", ["nin"], id="whitened"),
        pytest.param(INT8, "fp32", ["nin"], id="int8 by its file"),
        pytest.param(None, "int8", ["nin", "digits"], id="all int8"),
        # To be refused, as of a single network.
        pytest.param(PLAIN, "fp32", ["nin", "digits"], id="plain"),
        pytest.param(None, "fp32", ["nin", "digits"], id="none changed"),
    ],
)
def test_of_several_networks_those_are_calibrated_that_take_it(
    tmp_path, compressed, precision, calibrated
):
    """Where the file of one of them alone takes examples, the others go without."""
    file, calibration = tmp_path / "small.json", tmp_path / "examples.npy"
    if compressed is not None:
        file.write_text(compressed)
    run = RunOptions(
        precision=precision,
        calibration=calibration,
        compressed=None if compressed is None else file,
    )
    models = ("nin", "digits")

    options = [
        deploy_options(each, DeviceOptions(device="pc"), run, among=models) for each in models
    ]

    assert [each.model for each in options if each.calibration == calibration] == calibrated
    assert all(each.calibration in (None, calibration) for each in options)
