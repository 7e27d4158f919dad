"""What is predicted of a run before it: from all that is stored but itself, and never an error."""

import pytest
from examples import artifact, device_info
from msgspec.structs import replace

from mobilekit import places
from mobilekit.flow.foretell import foretell
from mobilekit.model.zoo import find_model, with_variant
from mobilekit.records.network import Variant
from mobilekit.records.prediction import StoredLatency
from mobilekit.units import NS_PER_MS

PHONE = device_info(serial="PIX1", hardware_serial="PIX1", name="pixel-3", soc="SDM845")


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch):
    """Layers are those that came with mobilekit."""
    monkeypatch.setattr(places, "artifacts_directory", lambda: tmp_path)


def exported(name, precision="fp32"):
    return artifact(model=with_variant(find_model(name), Variant(precision=precision)))


def stored(name, latency_ms, device=PHONE, threads=4):
    return StoredLatency(
        measurement_id=f"{name}-1",
        started_at="2026-01-01T00:00:00.000+00:00",
        model=find_model(name),
        device=device,
        format="pte",
        threads=threads,
        p50_ns=latency_ms * NS_PER_MS,
        predicted=None,
    )


def test_a_run_is_predicted_from_other_networks_here():
    """With as many threads as those had, where none are asked for."""
    latencies = [stored("squeezenet", 50), stored("mobilenet_v1", 70)]

    told = foretell(PHONE, exported("googlenet"), None, latencies)

    assert told.low_ns < told.latency_ns < told.high_ns
    assert 50 * NS_PER_MS < told.latency_ns < 400 * NS_PER_MS
    assert (told.known, told.threads, told.seen, told.widening) == (2, 4, True, 1)


def test_a_network_is_not_predicted_from_itself():
    """What was measured of it here is left out, so that a score says something."""
    others = [stored("squeezenet", 50), stored("mobilenet_v1", 70)]
    itself = [stored("googlenet", 9999), stored("googlenet", 9998)]

    alone, beside = (
        foretell(PHONE, exported("googlenet"), 4, latencies)
        for latencies in (others, [*others, *itself])
    )
    assert beside == alone
    assert foretell(PHONE, exported("googlenet"), 4, itself) is None


def test_a_network_is_predicted_from_itself_on_another_phone():
    other = replace(PHONE, serial="PIX2", hardware_serial="PIX2", name="pixel-3-too")
    others = [stored("squeezenet", 50), stored("mobilenet_v1", 70)]
    elsewhere = [stored("squeezenet", 50, other), stored("googlenet", 300, other)]

    beside = foretell(PHONE, exported("googlenet"), 4, [*others, *elsewhere])
    without = foretell(PHONE, exported("googlenet"), 4, [*others, elsewhere[0]])
    assert beside.latency_ns > 1.02 * without.latency_ns


@pytest.mark.parametrize(
    ("name", "precision", "threads", "device"),
    [
        ("googlenet", "int8", 4, PHONE),
        ("svhn", "fp32", 4, PHONE),
        ("googlenet", "fp32", 99, PHONE),
        ("googlenet", "fp32", 4, replace(PHONE, virtual=True)),
        ("googlenet", "fp32", 4, replace(PHONE, name="pc", link="none")),
    ],
    ids=["setting", "outside of what was fitted", "threads", "virtual", "computer"],
)
def test_what_cannot_be_told_is_left_open(name, precision, threads, device):
    latencies = [stored("squeezenet", 50), stored("mobilenet_v1", 70)]

    assert foretell(device, exported(name, precision), threads, latencies) is None


def test_a_run_on_a_gpu_is_left_open():
    made = artifact(model=with_variant(find_model("googlenet"), Variant(backend="vulkan")))

    assert foretell(PHONE, made, 4, [stored("squeezenet", 50)]) is None


def test_a_network_whose_layers_are_not_at_hand_is_left_open():
    unknown = replace(find_model("googlenet"), content_sha256="f" * 64)

    assert foretell(PHONE, artifact(model=unknown), 4, [stored("squeezenet", 50)]) is None
