"""Ctrl-C in each phase: exit code 130 and one line, whatever was under way."""

import json
import signal
import sys

import pytest

from mobilekit.cli import main


def press(*_, **__):
    raise KeyboardInterrupt


@pytest.fixture
def run(monkeypatch, tmp_path, capsys, model_directory, shared_home):
    """Runs the program in this process; somebody presses Ctrl-C when ``at`` is called."""

    def run(at, *arguments):
        monkeypatch.setenv("MOBILEKIT_HOME", str(shared_home))
        monkeypatch.setenv("MOBILEKIT_STORE", f"sqlite:///{tmp_path / 'results.sqlite'}")
        monkeypatch.chdir(model_directory)
        monkeypatch.setattr(signal, "signal", lambda *_: None)
        monkeypatch.setattr(sys, "argv", ["mobilekit", *arguments])
        monkeypatch.setattr(at, press)
        with pytest.raises(SystemExit) as ended:
            main.run()
        return ended.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("at", "arguments"),
    [
        pytest.param("mobilekit.model.export.cache_key", ["export", "tiny.py"], id="export"),
        pytest.param(
            "mobilekit.executor.computer.ComputerExecutor.deliver",
            ["deploy", "tiny.py", "-d", "pc"],
            id="push",
        ),
        pytest.param("mobilekit.executor.open.list_devices", ["devices"], id="devices"),
        pytest.param(
            "mobilekit.flow.meter.import_meter_trace", ["meter", "import", "trace.csv"], id="meter"
        ),
        pytest.param("mobilekit.results.store.open_to_read", ["results", "list"], id="results"),
        pytest.param("mobilekit.cli.main.load_command", ["models"], id="while it is imported"),
    ],
)
def test_one_line_says_so(run, model_directory, at, arguments):
    """On standard error, and with --json as a document too; there is no traceback."""
    (model_directory / "trace.csv").write_text("time,power\n0,1\n", encoding="utf-8")

    code, _, stderr = run(at, *arguments)

    assert code == 130
    (line,) = [line for line in stderr.splitlines() if "Interrupted" in line]
    assert line.startswith("Error: Interrupted from the keyboard.")
    assert "Traceback" not in stderr


def test_a_document_says_so(run):
    """For a program that reads it."""
    code, stdout, _ = run("mobilekit.executor.open.list_devices", "devices", "--json")

    assert code == 130
    assert json.loads(stdout)["error"]["kind"] == "StoppedError"
