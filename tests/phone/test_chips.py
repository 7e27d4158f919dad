"""The table of chips: each is readable, found by each of its names, and has its sources."""

import csv

import pytest

from mobilekit.analysis.predict.chips import features_of, parse_chip
from mobilekit.flow.predict import read_phone
from mobilekit.phone.chips import (
    find_chip,
    load_chips,
    load_cores,
    load_sources,
    names_of,
)


def test_the_table_covers_a_dozen_years_of_phones():
    assert len(load_chips()) >= 60


@pytest.mark.parametrize("known", load_chips(), ids=lambda chip: chip.name)
def test_every_chip_is_described_and_found_by_each_name(known):
    """Its cores are known, the fastest first, and no other chip has a name of its."""
    chip = parse_chip(known.clusters, load_cores(), dram_gbps=known.dram.gbps)

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


# --- sources -----------------------------------------------------------------------------------

FASTEST = {"DDR3L": 1866, "LPDDR2": 1066, "LPDDR3": 2133, "LPDDR4": 4266, "LPDDR4X": 4266}
FASTEST |= {"LPDDR5": 6400, "LPDDR5X": 9600}
"""MT/s of each kind of memory; the last one's is beyond its standard, and sold."""


def rows_of(config, table):
    with (config.rootpath / "mobilekit/prediction" / table).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_no_figure_is_without_its_source(request):
    """And no source is left that nothing is from."""
    of_cores = [
        each
        for core in load_cores().values()
        for each in (core.macs_source, core.architecture_source)
    ]
    of_chips = [each for chip in load_chips() for each in (chip.clock_source, chip.dram_source)]
    of_fitted = [row["source"] for row in rows_of(request.config, "ncnn/chips.csv")]

    assert {*of_cores, *of_chips, *of_fitted} == set(load_sources())


def test_clocks_that_are_said_to_be_measured_are(request):
    """To 3 %, of each kind of core of the chip; and all that were measured say so."""
    measured = {}
    for row in rows_of(request.config, "power/cores.csv"):
        soc = row["soc"].removesuffix("-AB")
        measured.setdefault(soc, []).append((row["core"], float(row["ghz"])))
    for known in load_chips():
        chip = parse_chip(known.clusters, load_cores(), dram_gbps=None)
        assert (known.clock_source == "freqbench") == (known.name in measured), known.name
        for cluster in chip.clusters if known.name in measured else ():
            assert any(
                kind == cluster.core.name and cluster.clock_ghz == pytest.approx(clock, rel=0.03)
                for kind, clock in measured[known.name]
            ), (known.name, cluster)


def test_cores_that_are_said_to_be_read_are(request):
    """All of a chip, each cluster's kind and number, and its clock to 3 %."""
    read = {}
    for row in rows_of(request.config, "clocks.csv"):
        cluster = (row["core"], int(row["cores"]), float(row["ghz"]))
        read.setdefault(row["soc"], []).append(cluster)
    said = {
        known.name: parse_chip(known.clusters, load_cores(), dram_gbps=None)
        for known in load_chips()
        if known.clock_source in {"cpuinfo-phones", "device-trees", "lineageos-wiki", "web-pages"}
    }

    assert said.keys() == read.keys()
    for name, chip in said.items():
        clusters = [(each.core.name, each.cores, each.clock_ghz) for each in chip.clusters]
        assert [each[:2] for each in clusters] == [each[:2] for each in read[name]], name
        assert [each[2] for each in clusters] == pytest.approx(
            [each[2] for each in read[name]], rel=0.03
        ), name


def memories_that_were_read(config):
    """By SoC, what each of its sources tells: kind, width, rate or what these come to."""
    read = {}
    for row in rows_of(config, "memories.csv"):
        soc, source = row.pop("soc"), row.pop("source")
        told = {name: value for name, value in row.items() if value}
        assert source, soc
        assert told, soc
        read.setdefault(soc, []).append(told)
    return read


def test_memories_that_are_said_to_be_read_are(request):
    """The kind and the width as read, the rate and what it comes to with that width to 4 %."""
    chips = {known.name: known for known in load_chips()}

    for name, rows in memories_that_were_read(request.config).items():
        dram = chips[name].dram
        for told in rows:
            assert told.get("kind", dram.kind) == dram.kind, name
            assert int(told.get("width_bits", dram.bits)) == dram.bits, name
            assert float(told.get("rate_mts", dram.transfers_per_us)) == pytest.approx(
                dram.transfers_per_us, rel=0.04
            ), name
            assert float(told.get("gbps", dram.gbps)) == pytest.approx(dram.gbps, rel=0.04), name


def test_a_memory_says_how_much_of_it_was_read(request):
    """All of its bandwidth, its rate alone or nothing."""
    read = memories_that_were_read(request.config)

    for known in load_chips():
        told = {name for row in read.get(known.name, ()) for name in row}
        if told >= {"width_bits", "rate_mts"} or "gbps" in told:
            source = "memories"
        elif "rate_mts" in told:
            source = "memory-rates"
        else:
            source = "general-knowledge"
        assert known.dram_source == source, known.name


@pytest.mark.parametrize("known", load_chips(), ids=lambda chip: chip.name)
def test_a_memory_is_one_that_is_made(known):
    assert 1000 < known.dram.transfers_per_us <= FASTEST[known.dram.kind]
    assert known.dram.bits in {32, 64, 128}
