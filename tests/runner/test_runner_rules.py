"""The warm-up rule and the output check against the vectors that every companion shares."""

import json
from pathlib import Path

import numpy as np
import pytest

from mobilekit.contract.codec import decode
from mobilekit.contract.condensed import expand, read_head
from mobilekit.contract.outputs import check_outputs
from mobilekit.contract.protocol import WarmupRule
from mobilekit.errors import ProtocolError
from mobilekit.hashing import file_sha256
from mobilekit.runner.warmup import WarmupDetector

VECTORS = Path(__file__).parents[1] / "vectors"
LARGEST = float(np.finfo(np.float64).max)


def cases(name):
    return [
        pytest.param(case, id=case["name"])
        for case in json.loads((VECTORS / name).read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("case", cases("warmup.json"))
def test_warmup_ends_where_the_vectors_say(case):
    """Fed one latency at a time, warm-up stops at the vector's iteration, settled or not."""
    rule = decode(json.dumps(case["rule"]), WarmupRule, source="vector")
    detector = WarmupDetector(rule)
    for latency_ns in case["latency_ns"]:
        if not detector.needs_another():
            break
        detector.add(latency_ns)

    assert not detector.needs_another()
    assert len(detector.latency_ns) == case["iterations"]
    assert detector.settled == case["settled"]


@pytest.mark.parametrize("case", cases("output_check.json"))
def test_outputs_compare_as_the_vectors_say(case):
    """Errors and verdict are the vector's, not-a-number and infinity included."""

    def tensors(lists):
        return [np.array([float(value) for value in values], np.float32) for values in lists]

    check = check_outputs(
        tensors(case["outputs"]), tensors(case["reference_outputs"]), case["relative_tolerance"]
    )

    assert check.matches == case["matches"]
    assert check.max_absolute_error == pytest.approx(case["max_absolute_error"], rel=1e-12)
    assert check.max_relative_error == pytest.approx(case["max_relative_error"], rel=1e-12)


@pytest.mark.parametrize("case", cases("condensed.json"))
def test_a_condensed_program_expands_as_the_vectors_say(case, tmp_path):
    """To what its head says, or to an error that tells what is wrong with it."""
    source, target = tmp_path / "condensed", tmp_path / "program"
    source.write_bytes(bytes.fromhex(case["condensed"]))

    if case["error"] is None:
        expand(source, target)
        assert file_sha256(target) == read_head(source).program_sha256
        assert target.stat().st_size == read_head(source).program_bytes
    else:
        with pytest.raises(ProtocolError, match=case["error"]):
            expand(source, target)


def test_a_missing_or_reshaped_output_never_matches():
    """An output too few, or of another shape, is as wrong as can be."""
    reference = [np.zeros((2, 3), np.float32)]

    assert check_outputs([], reference, 1.0).matches is False
    reshaped = check_outputs([np.zeros((3, 2), np.float32)], reference, 1.0)
    assert reshaped.matches is False
    assert reshaped.max_absolute_error == LARGEST
