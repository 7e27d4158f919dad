"""The table of chips: each is readable, and found by each of its names."""

import pytest

from mobilekit.analysis.predict.chips import features_of, parse_chip
from mobilekit.flow.predict import read_phone
from mobilekit.phone.chips import find_chip, load_chips, load_cores, names_of


def test_the_table_covers_a_dozen_years_of_phones():
    assert len(load_chips()) >= 60


@pytest.mark.parametrize("known", load_chips(), ids=lambda chip: chip.name)
def test_every_chip_is_described_and_found_by_each_name(known):
    """Its cores are known, the fastest first, and no other chip has a name of its."""
    chip = parse_chip(known.clusters, load_cores(), dram_gbps=known.dram_gbps)

    assert [each.rate for each in chip.clusters] == sorted(
        (each.rate for each in chip.clusters), reverse=True
    )
    assert len(features_of(chip, chip.cores))
    for name in names_of(known):
        assert find_chip(name) == known, name
    assert find_chip(known.name.lower()) == known


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("Qualcomm APQ8064", "APQ8064"),
        ("flo", "APQ8064"),
        ("grouper", "T30L"),
        ("snapdragon 888", "SM8350"),
        ("lahaina", "SM8350"),
        ("google tensor g3", "Tensor G3"),
        ("4xA76@2.4", None),
        ("", None),
    ],
)
def test_only_a_whole_name_finds_a_chip(words, name):
    found = find_chip(words)

    assert (found.name if found else None) == name


def test_a_named_chip_brings_its_memory_unless_another_is_told():
    assert read_phone("SM8350").chip.dram_gbps == 51.2
    assert read_phone("SM8350", dram_gbps=30).chip.dram_gbps == 30
    assert read_phone("1xX1@2.84").chip.dram_gbps is None
