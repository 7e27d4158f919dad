"""What the cache keeps: whole, under its own name, and nothing else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mobilekit.errors import ExportError, ProtocolError
from mobilekit.model.files import read_record, reporting_full_disk, write_record

Record = tuple[int, ...]


def other(path: Path) -> None:
    """Sound, and of something else."""
    write_record(path.with_name("other.json"), (4, 5))
    shutil.copy(path.with_name("other.json"), path)


def pipe(path: Path) -> None:
    """Reading it would never end."""
    path.unlink()
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.timeout(10)
@pytest.mark.parametrize("put", [other, pipe, directory, circle, device])
def test_what_was_not_written_there_is_no_record(put: Callable[[Path], None], tmp_path: Path):
    path = tmp_path / "record.json"
    write_record(path, (1, 2, 3))
    assert read_record(path, Record) == (1, 2, 3)

    put(path)

    with pytest.raises((ProtocolError, OSError)):
        read_record(path, Record)


def test_a_directory_in_the_way_is_named(tmp_path: Path):
    """Nobody can guess which of the cache's names it has."""
    (tmp_path / "record.json" / "kept").mkdir(parents=True)

    with pytest.raises(ExportError) as caught, reporting_full_disk(tmp_path):
        write_record(tmp_path / "record.json", (1, 2, 3))

    assert "record.json cannot be written to: Is a directory. Remove it" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]
