"""Comparing two devices, through the CLI."""

import csv
import io

import pytest
from msgspec.structs import replace

from mobilekit.contract.codec import decode
from mobilekit.phone.profiles import load_profiles
from mobilekit.results.documents import ComparisonDocument

NO_PHONE = {"ANDROID_ADB_SERVER_PORT": "1", "ADBUTILS_ADB_PATH": "/bin/false"}


@pytest.fixture
def other_model(model_directory):
    (model_directory / "wider.py").write_text(
        "from torch import nn\n\nINPUT_SHAPES = ((1, 3, 16, 16),)\n\n\n"
        "def build():\n    return nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU())\n"
    )
    return "wider.py"


@pytest.fixture
def broken_model(model_directory):
    """Its export fails: what it does depends on the values of its input."""
    (model_directory / "broken.py").write_text(
        "from torch import nn\n\nINPUT_SHAPES = ((1, 4),)\n\n\n"
        "class Net(nn.Module):\n    def forward(self, x):\n"
        "        return x + 1 if x.sum() > 0 else x - 1\n\n\n"
        "def build():\n    return Net()\n"
    )
    return "broken.py"


def test_a_virtual_phone_against_this_computer(cli, other_model, tmp_path):
    """Every run is stored, figures have ratios, and these are said to tell nothing of a phone."""
    outcome = cli(
        *("compare", "tiny.py", other_model, "--device", "nexus7", "--against", "pc", "--fast"),
        *("--energy", "--json", "--plot", tmp_path / "plot.png"),
    )

    assert outcome.exit_code == 0, outcome.stderr
    document = decode(outcome.stdout, ComparisonDocument, source="stdout")
    assert [comparison.model for comparison in document.comparisons] == ["tiny", "wider"]
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    for comparison in document.comparisons:
        assert [side.device for side in comparison.all_sides] == ["nexus7", "pc"]
        assert [finding.id for finding in comparison.findings] == ["VIRTUAL-RATIO"]
        figures = {(figure.name, figure.origin): figure for figure in comparison.figures}
        (latency,) = figures["latency", "measured"].sides
        assert latency.ratio.interval.low > 0
        (artifact,) = figures["artifact", "measured"].sides
        assert artifact.ratio.value == 1.0
        (available,) = figures["available", "simulated"].sides
        assert available.quantity.value < 2 * 1024**3
        assert {each.type for each in comparison.layer_types} >= {"convolution"}
        of_sides = ([each.sides[0].taken, each.against] for each in comparison.layer_types)
        for taken in zip(*of_sides, strict=True):
            shares = [share for share in taken if share is not None]
            # A layer of so small a network may take no more than chance.
            whole = 1.0 if any(share.p50_ns for share in shares) else 0.0
            assert sum(share.share for share in shares) == pytest.approx(whole)
        assert comparison.footprint.alone_bytes <= comparison.footprint.planned_bytes
        # A battery that is simulated pays for one side only, in a figure of its own.
        assert figures["energy_gross", "simulated"].sides[0].quantity.value > 0
        assert figures["energy_gross", "simulated"].against is None
        assert ("energy_gross", "measured") not in figures
    stored = cli("results", "list", "--json", **NO_PHONE).document["results"]
    sides = [side for each in document.comparisons for side in each.all_sides]
    runs = {id for side in sides for id in (side.id, side.profile.id)}
    assert {item["id"] for item in stored} >= runs  # A pass that was disturbed is repeated.

    again = cli("compare", "--results", sides[0].id, sides[1].id, "--json", **NO_PHONE)

    assert again.exit_code == 0, again.stderr
    (compared,) = again.document["comparisons"]
    assert compared["figures"] == outcome.document["comparisons"][0]["figures"]


def test_layers_of_an_engine_that_cannot_trace(cli, other_model):
    """Both are cut, in runs beside the two, and the sum is shown against the whole."""
    outcome = cli("compare", other_model, "--device", "pc", "--fast", "--format", "tflite")

    assert outcome.exit_code == 0, outcome.stderr
    assert "No trace: LiteRT" in outcome.stderr
    rows = {line[2:28].strip(): line[28:].split() for line in outcome.stdout.splitlines()[2:]}
    assert rows["layers by"] == ["segments", "segments"]
    # A pass of so small a network may be disturbed twice, and its shares then be in doubt.
    assert rows["layers: convolution"][0].rstrip("?").endswith("%")
    assert rows["layers' sum"][2].rstrip("?").endswith("%")
    stored = cli("results", "list", "--json", **NO_PHONE).document["results"]
    assert {each["id"] for each in stored} >= {*rows["saved"], *rows["layers saved"]}
    assert len(stored) >= 4  # A pass that was disturbed is repeated.


def test_text_markdown_and_csv(cli):
    """One stored pair in each form, without a phone and without measuring again."""
    ids = [
        cli("deploy", "tiny.py", "-d", "pc", "--fast", "--json").document["id"] for _ in range(2)
    ]

    text = cli("compare", "--results", *ids, "--published", "fantozzi2016", **NO_PHONE).stdout
    markdown = cli("compare", "--results", *ids, "--markdown", **NO_PHONE).stdout
    rows = list(
        csv.DictReader(io.StringIO(cli("compare", "--results", *ids, "--csv", **NO_PHONE).stdout))
    )

    assert "pc / pc" in text
    assert "not in it" in text
    assert "### tiny" in markdown
    assert {row["measurement"] for row in rows} == set(ids)
    assert len(cli("results", "list", "--json", **NO_PHONE).document["results"]) == 2


def test_unlike_runs_are_refused_with_what_differs(cli, other_model):
    """The document holds the differences, no figure is printed, and the exit code is 1."""

    def deployed(*arguments):
        return cli("deploy", *arguments, "-d", "pc", "--fast", "--json").document["id"]

    plain, wider = deployed("tiny.py"), deployed(other_model)
    one_thread = deployed("tiny.py", "--threads", "1")

    outcome = cli("compare", "--results", plain, one_thread, plain, wider, "--json", **NO_PHONE)

    assert outcome.exit_code == 1
    threads, network = outcome.document["comparisons"]
    assert threads["figures"] == network["figures"] == []
    assert [item["id"] for item in threads["sides"][0]["differences"] if item["refuses"]] == [
        "threads"
    ]
    assert {item["id"] for item in network["sides"][0]["differences"] if item["refuses"]} >= {
        "network"
    }
    assert "the same --threads" in outcome.stderr
    assert "not the same network" in outcome.stderr
    assert wider in outcome.stderr


def test_weights_of_ones_own_on_both_sides(cli, tiny_weights):
    """Neither run is of untrained weights, and both are of the same ones."""
    arguments = ("--device", "pc", "--weights", tiny_weights, "--fast", "--no-layers", "--json")

    outcome = cli("compare", "tiny.py", *arguments, **NO_PHONE)

    assert outcome.exit_code == 0, outcome.stderr
    (comparison,) = outcome.document["comparisons"]
    (side,) = comparison["sides"]
    for each in (side, comparison["against"]):
        assert "UNTRAINED-WEIGHTS" not in each["findings"]
    assert "network" not in {difference["id"] for difference in side["differences"]}


def test_one_network_that_cannot_be_exported_ends_itself_alone(cli, broken_model):
    """The others are measured and shown; the exit code says that something failed."""
    outcome = cli(
        "compare", broken_model, "tiny.py", "--device", "pc", "--fast", "--no-layers", "--json"
    )

    assert outcome.exit_code == 1
    document = outcome.document
    assert document["comparisons"][0]["layer_types"] == []
    assert [item["model"] for item in document["unmeasured"]] == [broken_model]
    assert document["unmeasured"][0]["kind"] == "ExportError"
    assert [item["model"] for item in document["comparisons"]] == ["tiny"]
    assert document["comparisons"][0]["figures"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(("tiny.py", "nothing"), "nothing", id="unknown model"),
        pytest.param(("tiny.py", "--fast", "--rigorous"), "contradict", id="two presets"),
        pytest.param(("tiny.py", "--csv", "--json"), "exclude", id="two forms"),
        pytest.param(
            ("tiny.py", "tiny.py", "--weights", "w.pt"), "one network", id="weights of one"
        ),
        pytest.param(("tiny.py", "--weights", "w.pt"), "w.pt", id="no such weights"),
        pytest.param(("tiny.py", "--published", "x1999"), "fantozzi2016", id="unknown paper"),
        pytest.param(("tiny.py", "--plot", "plot.doc"), ".png", id="no such plot"),
        pytest.param(("--results", "a"), "in pairs", id="one result"),
        pytest.param(("--results", "a", "b"), "There is no result", id="unknown result"),
        pytest.param(("--results", "a", "b", "--level", "2"), "no --compressed", id="no levels"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_measured(cli, arguments, words):
    """Exit code 2, and nothing is stored."""
    outcome = cli("compare", *arguments, "--device", "pc", **NO_PHONE)

    assert outcome.exit_code == 2
    assert words in outcome.stderr
    assert cli("results", "list", "--json", **NO_PHONE).document["results"] == []


# --- memory ------------------------------------------------------------------------------------


@pytest.fixture
def small_phone(make_bench_phone):
    """A virtual phone whose own processes leave no memory for a network."""
    profile = load_profiles()["nexus7"]
    hardware = replace(profile.hardware, ram_bytes=192 << 20)
    return make_bench_phone(replace(profile, hardware=hardware))


def test_a_network_that_will_not_fit_is_told_of_before_it_runs(cli, small_phone):
    """On stderr beforehand, and as a finding of the measurement; it runs all the same."""
    outcome = cli("deploy", "tiny.py", "-d", small_phone.serial, "--fast", "--no-energy", "--json")

    assert outcome.exit_code == 0, outcome.stderr
    assert "WILL-NOT-FIT" in outcome.stderr
    measurement = outcome.document["measurement"]
    assert measurement["device"]["available_bytes"] == 0
    findings = {item["id"]: item for item in measurement["findings"]}
    assert findings["WILL-NOT-FIT"]["severity"] == "warning"
    summary = findings["WILL-NOT-FIT"]["summary"]
    assert "0 B of memory available before it" in summary
    assert "of weights" in summary
    # Of the first layer what it yields, 8 x 14 x 14; what it reads is the input, 3 x 16 x 16.
    assert "6.1 KiB of activations in 0" in summary
    assert "3.0 KiB of inputs" in summary


def test_memory_that_suffices_is_not_mentioned(cli, bench_phone):
    """A phone of 2 GiB has room for a tiny network."""
    outcome = cli("deploy", "tiny.py", "-d", bench_phone.serial, "--fast", "--no-energy", "--json")

    assert outcome.document["measurement"]["device"]["available_bytes"] > 2**30
    assert "WILL-NOT-FIT" not in outcome.stderr + outcome.stdout
    assert "MEMORY-TIGHT" not in outcome.stdout
