"""Recorded runs, played again."""

import os

import pytest
from examples import energy_plan, measured, run_request
from recordings import recorded, replaying, write_recording

from mobilekit.contract.protocol import IterationsMeasured, RunSuccess
from mobilekit.errors import ProtocolError, UsageError
from mobilekit.executor.base import Listener
from mobilekit.executor.phone import SILENT
from mobilekit.executor.replay import open_recording

FAST = measured("fast", iteration_ns=(1_000,) * 40)
SLOW = measured("slow", iteration_ns=(9_000,) * 40)
ENERGY = measured("energy", request=run_request(energy=energy_plan()))


def played(executor, request):
    executor.start((request,))
    return executor.follow(request, SILENT)


def test_the_run_is_heard_and_given_again_under_its_new_name():
    """Every event in its order, and the samples that were recorded."""
    heard = []
    request = run_request(run_id="again-1")

    result = replaying(FAST).follow(request, Listener(heard.append, lambda: None, lambda: None))

    assert isinstance(result, RunSuccess)
    assert result.run_id == "again-1"
    assert result.samples == FAST.result.samples
    assert tuple(heard) == recorded(FAST).events
    assert IterationsMeasured(latency_ns=(1_000,) * 40) in heard


def test_runs_alike_are_played_in_turn_and_the_last_again():
    """By their phases: one with energy is not played for one without."""
    executor = replaying(FAST, ENERGY, SLOW)

    results = [played(executor, run_request()) for _ in range(3)]

    assert [result.samples.iteration_ns[0] for result in results] == [1_000, 9_000, 9_000]


def test_a_request_that_no_recorded_run_is_like_is_refused():
    """Before anything is played, by its phases."""
    with pytest.raises(UsageError, match="no run of these phases") as raised:
        replaying(FAST).start((run_request(energy=energy_plan()),))

    assert raised.value.facts["phases"] == "energy"


def test_a_recording_is_read_from_its_files(tmp_path):
    """The device's state, and each run with its result."""
    state, executor = open_recording(write_recording(tmp_path / "recording", FAST, SLOW))

    assert state.info == FAST.device
    assert played(executor, run_request()).samples == FAST.result.samples
    assert played(executor, run_request()).samples == SLOW.result.samples


def test_a_recorded_run_whose_companion_died_is_a_failure(tmp_path):
    """It left no result; what it had told is kept."""
    directory = write_recording(tmp_path / "recording", FAST)
    (directory / "runs/000/result.json").unlink()

    result = played(open_recording(directory).executor, run_request())

    assert result.code == "interrupted"
    assert result.samples.iteration_ns == (1_000,) * 40


def test_what_is_no_recording_is_refused(tmp_path):
    """A directory without one names the file that is missing; a damaged one the file that is."""
    with pytest.raises(UsageError, match="no recording") as raised:
        open_recording(tmp_path)
    assert raised.value.facts["path"] == str(tmp_path / "device.json")

    directory = write_recording(tmp_path / "recording", FAST)
    (directory / "device.json").write_text("{}")
    with pytest.raises(ProtocolError, match=r"device\.json"):
        open_recording(directory)


def test_a_file_of_a_recording_that_is_missing_or_too_long_is_told(tmp_path):
    """As a phone's: what reads it takes no more than it was told of."""
    _, executor = open_recording(write_recording(tmp_path / "recording", FAST))
    request = FAST.request
    executor.follow(request, SILENT)
    target = tmp_path / "fetched"

    with pytest.raises(ProtocolError, match=r"trace\.bin of the recording cannot be read"):
        executor.fetch(request.run_id, "trace.bin", target, limit_bytes=10)
    (tmp_path / "recording/runs/000/trace.bin").write_bytes(bytes(11))
    with pytest.raises(ProtocolError, match="longer than the 10 bytes"):
        executor.fetch(request.run_id, "trace.bin", target, limit_bytes=10)
    assert not target.exists()
    executor.fetch(request.run_id, "trace.bin", target, limit_bytes=11)
    assert target.read_bytes() == bytes(11)


def test_a_pipe_in_a_recording_is_no_file(tmp_path):
    """Whoever opened it would wait for a writer, without end."""
    recording = write_recording(tmp_path / "recording", FAST)
    (progress,) = recording.glob("runs/*/progress.jsonl")
    progress.unlink()
    os.mkfifo(progress)

    with pytest.raises(ProtocolError, match="is no file"):
        open_recording(recording)
