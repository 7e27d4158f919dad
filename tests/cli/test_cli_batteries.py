"""Phones that no profile fits, by what they say of their batteries."""

from pathlib import Path

import msgspec
import pytest

from mobilekit.contract.codec import encode
from mobilekit.phone.profiles import load_profiles
from mobilekit.records.device import ProfileBattery, ProfileMatch
from mobilekit.virtual.battery import GAUGE_FILE, gauge_named

CAPTURED = Path(__file__).parents[1] / "captured"
REDMI = (CAPTURED / "battery-redmi-mah.txt").read_text(encoding="utf-8")
UNPLUGGED = REDMI.replace("USB powered: true", "USB powered: false").replace(
    "status: 2", "status: 3"
)
DEFAULT = "Estimated power use (mAh):\n    Capacity: 1000, Computed drain: 12.3, actual drain: 10\n"
STOPPED = UNPLUGGED.replace("state:\n", "state:\n  (UPDATES STOPPED -- use 'reset' to restart)\n")
NEXUS7 = load_profiles()["nexus7"]


@pytest.fixture
def stranger(make_bench_phone):
    """Attaches a phone that no profile fits, of a capacity, with a gauge, and saying what it is to
    say."""

    def make(capacity_uah, gauge, **says):
        profile = msgspec.structs.replace(
            NEXUS7,
            name="stranger",
            title="Somebody's Phone",
            match=ProfileMatch(devices=()),
            battery=ProfileBattery(capacity_uah=capacity_uah, energy_j=1.0),
        )
        phone = make_bench_phone(profile)
        (phone.directory / GAUGE_FILE).write_bytes(encode(gauge_named(gauge)))
        (phone.directory / "dumpsys").mkdir()
        for service, text in says.items():
            (phone.directory / "dumpsys" / f"{service}.txt").write_text(text, encoding="utf-8")
        return phone

    return make


@pytest.mark.parametrize(
    ("phone", "battery_j", "findings"),
    [
        pytest.param((5_300_000, "counter-mah", UNPLUGGED), 73_511, {"COUNTER-UNIT"}, id="mAh"),
        pytest.param((4_000_000, "max170xx", None, DEFAULT), 55_000, set(), id="default of 1,000"),
        pytest.param(
            (4_000_000, "counter-negative", None), None, {"CAPACITY-UNKNOWN"}, id="below zero"
        ),
        pytest.param(
            (4_000_000, "max170xx", None, "  Estimated battery capacity: 9000 mAh\n"),
            None,
            {"CAPACITY-CONTRADICTS"},
            id="contradiction",
        ),
    ],
)
def test_a_strangers_battery(cli, stranger, phone, battery_j, findings):
    """Joules are told, and inferences per charge of the capacity that can be believed, if any."""
    capacity_uah, gauge, *texts = phone
    says = {
        name: text for name, text in zip(("battery", "batterystats"), texts, strict=False) if text
    }
    attached = stranger(capacity_uah, gauge, **says)

    outcome = cli("deploy", "tiny.py", "-d", attached.serial, "--fast", "--json")

    assert outcome.exit_code == 0, outcome.stderr
    answer, measured = outcome.document["answer"], outcome.document["measurement"]
    odd = {finding["id"] for finding in measured["findings"]} & {
        "COUNTER-UNIT",
        "CAPACITY-UNKNOWN",
        "CAPACITY-CONTRADICTS",
        "GAUGE-CONTRADICTS",
        "NO-ENERGY",
    }
    assert odd == findings
    assert answer["latency"]["p50_ns"] > 0
    assert answer["energy"]["load_w"] == pytest.approx(NEXUS7.power.active_mw / 1000, rel=0.15)
    if battery_j is None:
        assert answer["charge"] is None
    else:
        assert answer["charge"]["battery_j"] == pytest.approx(battery_j, rel=0.03)
        assert answer["charge"]["inferences"] == pytest.approx(
            answer["charge"]["battery_j"] / answer["energy"]["gross_j"], rel=1e-6
        )


def test_a_battery_that_somebody_has_set(cli, stranger):
    """Its latency is measured, its energy is not, and the way out is said."""
    phone = stranger(5_300_000, "counter-mah", battery=STOPPED)

    deployed = cli("deploy", "tiny.py", "-d", phone.serial, "--fast", "--json")
    refused = cli("energy", "tiny.py", "-d", phone.serial, "--yes")

    assert deployed.exit_code == 0, deployed.stderr
    assert deployed.document["answer"]["latency"]["p50_ns"] > 0
    assert deployed.document["answer"]["energy"] is None
    found = {each["id"]: each for each in deployed.document["measurement"]["findings"]}
    assert f"adb -s {phone.serial} shell dumpsys battery reset" in found["BATTERY-SET"]["advice"]
    assert refused.exit_code == 3
    assert "dumpsys battery reset" in refused.stderr
