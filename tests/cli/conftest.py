"""The CLI as a person runs it: a process of its own, with a home of its own."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from schemas import check_document
from tiny_model import TINY_MODEL
from warm import interruptible

from mobilekit.contract.codec import encode
from mobilekit.phone.profiles import load_profiles
from mobilekit.virtual.companion import CompanionProcess, PhoneBattery


@dataclass(frozen=True)
class Outcome:
    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self):
        return json.loads(self.stdout)


@dataclass(frozen=True)
class Cli:
    """Runs ``mobilekit`` in ``directory`` against an adb server of the tests."""

    directory: Path
    environment: dict[str, str]

    def __call__(self, *arguments, timeout=120, **environment) -> Outcome:
        process = self.start(*arguments, **environment)
        stdout, stderr = process.communicate(timeout=timeout)
        assert "Traceback" not in stderr
        if "--json" in arguments and stdout:
            check_document(stdout)
        return Outcome(process.returncode, stdout, stderr)

    def start(self, *arguments, **environment) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "mobilekit", *map(str, arguments)],
            cwd=self.directory,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=interruptible,
        )


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory, exports):
    """A home for the tests of one worker, with the cache of artifacts that all workers share."""
    home = tmp_path_factory.mktemp("mobilekit")
    (home / "cache").mkdir()
    (home / "cache/artifacts").symlink_to(exports, target_is_directory=True)
    return home


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("work")
    (directory / "tiny.py").write_text(TINY_MODEL, encoding="utf-8")
    return directory


@pytest.fixture(scope="session")
def tiny_weights(model_directory):
    """Weights for ``tiny.py`` other than those that are drawn for it."""
    import torch
    from torch import nn

    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )
    torch.save(network.state_dict(), model_directory / "tiny.pt")
    return "tiny.pt"


@pytest.fixture
def cli(adb_server, shared_home, model_directory, tmp_path):
    """Results go to a database of the test's own, which is there and empty."""
    (tmp_path / "results.sqlite").touch()
    environment = {
        **adb_server.environment,
        "MOBILEKIT_HOME": str(shared_home),
        "MOBILEKIT_STORE": f"sqlite:///{tmp_path / 'results.sqlite'}",
        "COLUMNS": "200",
    }
    environment.pop("MOBILEKIT_REQUIRE_PHONE", None)
    return Cli(model_directory, environment)


@pytest.fixture
def make_bench_phone(make_phone, tmp_path):
    """Attaches a virtual phone, with the real companion unless another type is given."""

    def make(profile=None, companion_type=CompanionProcess):
        profile = profile or load_profiles()["nexus7"]
        directory = tmp_path / "phone"
        directory.mkdir()
        (directory / "profile.json").write_bytes(encode(profile))
        return make_phone(
            profile=profile,
            directory=directory,
            battery=PhoneBattery(profile, directory / "battery.json"),
            companion=companion_type(directory),
        )

    return make


@pytest.fixture
def bench_phone(make_bench_phone):
    """A virtual Nexus 7 attached to the tests' adb server, with the real companion."""
    return make_bench_phone()
