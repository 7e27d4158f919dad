from importlib.resources import files

import pytest
from examples import device_info

from mobilekit import places
from mobilekit.errors import ProfileError
from mobilekit.phone.profiles import (
    figures,
    generic_profile,
    load_profiles,
    match_profile,
    parse_profile,
)
from mobilekit.records.device import BatteryCapacity

NEXUS7 = files("mobilekit").joinpath("profiles/nexus7.toml").read_text(encoding="utf-8")


def test_the_packaged_profiles():
    """The five phones are there, each figure with a source, and the Nexus 7's are the paper's."""
    profiles = load_profiles()

    assert set(profiles) == {"nexus7", "nexus5", "pixel6a", "pixel8", "galaxy-s21"}
    for profile in profiles.values():
        assert all(profile.sources[figure] for figure in figures(profile))
    nexus7 = profiles["nexus7"]
    assert nexus7.battery.capacity_uah == 3_950_000
    assert nexus7.battery.energy_j == 54_000
    assert nexus7.hardware.cores == 4
    assert nexus7.hardware.ram_bytes == 2 * 1024**3
    assert nexus7.hardware.abi == "armeabi-v7a"


@pytest.mark.parametrize("device", ["flo", "deb"])
def test_both_nexus_7_match(device):
    """The Wi-Fi and the LTE version are one profile; another device is none."""
    profiles = load_profiles()

    assert match_profile(device_info(device), profiles) == profiles["nexus7"]
    assert match_profile(device_info("grouper"), profiles) is None


def test_a_users_profile_replaces_the_packaged_one(monkeypatch, tmp_path):
    """A file in the config directory is found, and wins over ours of the same name."""
    monkeypatch.setenv("MOBILEKIT_HOME", str(tmp_path))
    directory = places.profiles_directory()
    directory.mkdir(parents=True)
    mine = NEXUS7.replace("54_000.0", "50_000.0")
    (directory / "nexus7.toml").write_text(mine, encoding="utf-8")
    other = NEXUS7.replace('"nexus7"', '"lab-tablet"').replace('"flo", "deb"', '"lab"')
    (directory / "lab.toml").write_text(other, encoding="utf-8")

    profiles = load_profiles()

    assert profiles["nexus7"].battery.energy_j == 50_000
    assert match_profile(device_info("lab"), profiles) == profiles["lab-tablet"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(("[match]", "[match"), "not valid", id="no TOML"),
        pytest.param(("[match]", "x = " + "[" * 5000), "not valid", id="nested"),
        pytest.param(("[battery]", "[uploads_]"), "uploads_", id="an unknown table"),
        pytest.param(("energy_j = 54_000.0", ""), "energy_j", id="a field is missing"),
        pytest.param(("54_000.0", '"many"'), "energy_j", id="of another type"),
        pytest.param(("[power]", "[power]\nscreen_mw = 1.0"), "screen_mw", id="an unknown field"),
        pytest.param(("54_000.0", "-1.0"), "not positive", id="a negative figure"),
        pytest.param(("= 3380.0", "= 900.0"), "active_mw", id="load below idle"),
        pytest.param(('"battery.energy_j"', '"battery"'), "battery.energy_j", id="no source"),
    ],
)
def test_a_bad_profile_is_refused_by_file_and_field(change, named):
    """The error says which file and which field, and what to do."""
    text = NEXUS7.replace(*change)
    assert text != NEXUS7

    with pytest.raises(ProfileError) as caught:
        parse_profile(text.encode(), "/config/profiles/nexus7.toml")

    assert named in str(caught.value)
    assert "/config/profiles/nexus7.toml" in str(caught.value)


def test_an_unknown_phone_tells_its_own_capacity():
    """The generic profile has the capacity that the phone tells, and says where it is from."""
    told = BatteryCapacity(verdict="known", uah=4_000_000, source="batterystats", learned_uah=None)
    doubtful = BatteryCapacity(
        verdict="contradictory", uah=None, source="2 against 4", learned_uah=None
    )

    profile = generic_profile(device_info("x"), told)
    unknown = generic_profile(device_info("x"), doubtful)

    assert profile.battery.capacity_uah == 4_000_000
    assert profile.battery.energy_j == pytest.approx(4.0 * 3.85 * 3600)
    assert "batterystats" in profile.sources["battery.capacity_uah"]
    assert set(figures(profile)) <= set(profile.sources)
    assert unknown.battery is None
    assert unknown.sources["battery.capacity_uah"] == "2 against 4"


def test_a_profile_may_say_what_an_upload_costs():
    """Its own uploads take the place of the published ones; they are energies above zero."""
    uploads = '\n[[uploads]]\nname = "5G"\nenergy_j = 7.3\nsource = "measured"\n'

    (upload,) = parse_profile((NEXUS7 + uploads).encode(), "mine.toml").uploads

    assert (upload.name, upload.energy_j, upload.source) == ("5G", 7.3, "measured")
    with pytest.raises(ProfileError, match="not positive"):
        parse_profile((NEXUS7 + uploads.replace("7.3", "0.0")).encode(), "mine.toml")
