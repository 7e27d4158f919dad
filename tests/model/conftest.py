"""Model files for the tests, and one export of a small network that many tests look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from model_files import SMALL, Export, Known, WriteModel

from mobilekit.contract.protocol import Format
from mobilekit.model.export import export_artifact
from mobilekit.model.zoo import read_spec, with_variant
from mobilekit.records.artifact import Artifact
from mobilekit.records.network import ModelSpec, Precision, Variant


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Each test draws the same in torch, whichever ran before it."""
    torch.manual_seed(0)


@pytest.fixture
def random() -> np.random.Generator:
    """Each test's own."""
    return np.random.default_rng(5)


@pytest.fixture
def write_model(tmp_path: Path) -> WriteModel:
    """Writes a model file (a small network's, unless told otherwise) and gives its path."""

    def write(source: str = SMALL, name: str = "small.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        return path

    return write


@pytest.fixture
def export(tmp_path: Path) -> Export:
    """Exports into a cache of the test's own; gives the artifact and the progress messages."""

    def run(
        spec: ModelSpec,
        artifact_format: Format = "pte",
        *,
        precision: Precision = "fp32",
        calibration: Path | None = None,
    ) -> tuple[Artifact, list[str]]:
        messages: list[str] = []
        artifact = export_artifact(
            with_variant(spec, Variant(precision=precision)),
            artifact_format,
            calibration=calibration,
            cache_directory=tmp_path / "cache",
            on_progress=messages.append,
        )
        return artifact, messages

    return run


@pytest.fixture
def known(exports: Path) -> Known:
    """An artifact from the cache that all tests share, for those that do not look at its export."""

    def get(spec: ModelSpec, artifact_format: Format = "pte") -> Artifact:
        return export_artifact(
            spec, artifact_format, cache_directory=exports, on_progress=lambda message: None
        )

    return get


@pytest.fixture(scope="session")
def small_artifact(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, Path]:
    """The small network's artifact and the cache directory that it lies in; to be copied from."""
    directory = tmp_path_factory.mktemp("small")
    (directory / "small.py").write_text(SMALL)
    artifact = export_artifact(
        read_spec(directory / "small.py"),
        cache_directory=directory / "cache",
        on_progress=lambda message: None,
    )
    return artifact, directory / "cache"
