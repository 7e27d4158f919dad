"""``predict``: what it prints, what it refuses, and that it starts fast."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from examples import artifact, device_info, energy_plan, measured, run_request, samples
from msgspec.structs import replace
from schemas import check_document
from simulated import work
from typer.testing import CliRunner

import mobilekit
from mobilekit import places
from mobilekit.analysis.answer import derive_answer
from mobilekit.cli import main
from mobilekit.errors import CannotTellError, DoesNotFitError, MobilekitError, UsageError
from mobilekit.flow.predict import predict_real
from mobilekit.model.describe import keep_description, read_description
from mobilekit.model.zoo import find_model
from mobilekit.records.network import Variant
from mobilekit.results.store import Store
from mobilekit.results.text.measurement import render_measurement

LAYERS = Path(mobilekit.__file__).parent / "prediction/ncnn/layers.csv"
MEMORY = Path(mobilekit.__file__).parent / "prediction/memory.csv"
CHIP = "4xA76@2.4,4xA55@1.8"


def predict(*arguments, layers=LAYERS, chip=CHIP):
    words = ["predict", "--layers-csv", layers, "--chip", chip, *arguments]
    # So wide that no line of a table is broken, wherever the tests run.
    return CliRunner().invoke(main.app, list(map(str, words)), env={"COLUMNS": "200"})


@pytest.fixture(autouse=True)
def _nothing_was_measured(tmp_path_factory, monkeypatch):
    """Whoever runs the tests may have results of their own."""
    monkeypatch.setenv("MOBILEKIT_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def table(tmp_path):
    """Writes the layers of one network, each row changed."""

    def write(change, network="squeezenet"):
        with LAYERS.open(encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["network"] == network]
        path = tmp_path / "layers.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows({**row, **change(row)} for row in rows)
        return path

    return write


def test_every_network_of_the_table_is_predicted(tmp_path):
    """With one known, in JSON, in the table's order, each with an interval."""
    known = tmp_path / "known.csv"
    known.write_text("network,ms\nsqueezenet,24.4\n", encoding="utf-8")

    outcome = predict("--threads", 4, "--known", known, "--json", "--dram-gbps", 29.8)

    assert outcome.exit_code == 0, outcome.output
    document = check_document(outcome.stdout)
    told = document["predictions"]
    assert [each["network"] for each in told][:3] == ["alexnet", "blazeface", "efficientnet_b0"]
    assert len(told) == 24
    for each in told:
        assert each["low_ms"] < each["latency_ms"] < each["high_ms"]
        assert (each["origin"], each["known"], each["seen"]) == ("predicted", 1, True)
    by_name = {each["network"]: each["latency_ms"] for each in told}
    assert by_name["squeezenet"] == pytest.approx(24.4, rel=0.1)


def invoke(*words):
    return CliRunner().invoke(main.app, ["predict", *map(str, words)])


def test_networks_are_predicted_by_their_names(exports, monkeypatch):
    """On a profile's chip; one of them was measured on other phones, one cannot be told."""
    monkeypatch.setattr(places, "artifacts_directory", lambda: exports)

    outcome = invoke("alexnet", "svhn", "--device", "nexus7", "--json")

    assert outcome.exit_code == 0, outcome.output
    document = check_document(outcome.stdout)
    (device,) = document["devices"]
    assert (device["device"], device["chip"]) == ("nexus7", "4xKRAIT@1.51")
    alexnet, svhn = document["predictions"]
    assert alexnet["seen"]
    assert alexnet["low_ms"] < alexnet["latency_ms"] < alexnet["high_ms"]
    assert svhn["latency_ms"] is None
    assert "it is smaller than any network that was measured" in svhn["reasons"][0]


def test_what_goes_beyond_the_fitted_networks_says_how_far(exports, monkeypatch):
    """NIN's convolutions: with the share, the interval's width, and errors of networks like it."""
    monkeypatch.setattr(places, "artifacts_directory", lambda: exports)

    document = check_document(invoke("nin", "-d", "nexus7", "--json").stdout)
    shown = (
        CliRunner()
        .invoke(main.app, ["predict", "nin", "-d", "nexus7"], env={"COLUMNS": "300"})
        .stdout
    )
    listed = CliRunner().invoke(main.app, ["models", "-d", "nexus7"], env={"COLUMNS": "300"}).stdout

    (nin,) = document["predictions"]
    extrapolation = nin["extrapolation"]
    assert extrapolation["share"] == pytest.approx(0.70, abs=0.01)
    assert extrapolation["fitted_share"] == pytest.approx(0.42, abs=0.01)
    assert [each["extrapolated"] for each in document["past_errors"]] == [True]
    assert "the chip alone; extrapolated" in shown
    for text in (shown, listed):
        assert (
            "nin is extrapolated: 70% of its time on the reference phone goes into dense "
            "convolutions other than of 1x1, or of 3x3 with stride 1, and at most 42% of that of "
            f"any network that was measured; its interval is {extrapolation['widening']:.2f} times "
            "as wide for that."
        ) in text
        assert "a network measured nowhere and extrapolated was predicted to" in text


def test_memory_is_told_with_the_program_that_the_phone_would_get(exports, monkeypatch):
    """ExecuTorch's on 64 bits, LiteRT's on 32, where ONNX Runtime's cannot be told; also of a
    network whose latency cannot be. Within its interval lies what was measured on a computer."""
    monkeypatch.setattr(places, "artifacts_directory", lambda: exports)

    outcome = invoke("svhn", "alexnet", "-d", "nexus7", "-d", CHIP, "--json")

    told = {
        (row["network"], row["memory"]["format"]): row["memory"]
        for row in check_document(outcome.stdout)["predictions"]
    }
    with MEMORY.open(encoding="utf-8") as file:
        measured = {
            (row["network"], row["format"]): row
            for row in csv.DictReader(file)
            if row["precision"] == "fp32"
        }
    assert set(told) == {(name, kind) for name in ("svhn", "alexnet") for kind in ("pte", "tflite")}
    for key, memory in told.items():
        for figure in ("load", "inference", "peak"):
            ends = memory[figure]["low_bytes"], memory[figure]["high_bytes"]
            assert ends[0] <= int(measured[key][f"{figure}_bytes"]) <= ends[1], (key, figure)


def test_memory_of_a_format_and_a_precision_that_are_asked_for(exports, monkeypatch, tmp_path):
    """A quarter of the weights in int8; on a phone ONNX Runtime's is refused."""
    monkeypatch.setattr(places, "artifacts_directory", lambda: exports)
    monkeypatch.setattr(places, "default_store", lambda: tmp_path / "none.sqlite")

    def row(*words):
        outcome = invoke("nin", "-d", CHIP, "--json", *words)
        return check_document(outcome.stdout)["predictions"][0]

    whole, quarter = row()["memory"], row("--precision", "int8")["memory"]
    refused = row("--format", "onnx")

    assert (quarter["format"], quarter["precision"]) == ("pte", "int8")
    assert quarter["load"]["expected_bytes"] == pytest.approx(
        whole["load"]["expected_bytes"] / 4, rel=0.1
    )
    assert refused["memory"] is None
    assert any("ONNX Runtime on x86" in each["reason"] for each in refused["untold"])


def test_memory_can_be_bounded(exports, monkeypatch):
    """It needs 59 MiB at the peak."""
    monkeypatch.setattr(places, "artifacts_directory", lambda: exports)

    def verdict(bound):
        outcome = invoke("nin", "-d", CHIP, "--json", "--fits", bound)
        (row,) = check_document(outcome.stdout)["predictions"]
        return row["fits"]["verdict"]

    assert verdict("memory<80MiB") == "yes"
    assert verdict("memory<30MiB") == "no"
    assert verdict("memory<59MiB") == "unknown"


def test_layers_share_the_latency_of_their_network():
    """Of a table of layers, with what each of them is; of none where they are not asked for."""
    outcome = predict("--layers", "--json")
    rows = {row["network"]: row for row in check_document(outcome.stdout)["predictions"]}

    for row in rows.values():
        assert sum(layer["share"] for layer in row["layers"]) == pytest.approx(1)
        assert sum(layer["latency_ms"] for layer in row["layers"]) == pytest.approx(
            row["latency_ms"]
        )
    with LAYERS.open(encoding="utf-8") as file:
        written = [row for row in csv.DictReader(file) if row["network"] == "vgg16"]
    told = rows["vgg16"]["layers"]
    assert [layer["kind"] for layer in told] == [row["kind"] for row in written]
    convolutions = sum(layer["share"] for layer in told if layer["kind"] == "c3s1")
    assert 0.6 < convolutions < 1
    plain = check_document(predict("--json").stdout)["predictions"]
    assert all(row["layers"] == [] for row in plain)


def test_a_layer_that_cannot_be_told_has_no_part(exports, monkeypatch):
    """Nor has any other of its network; a chip with a slower memory has slower products."""
    monkeypatch.setattr(places, "artifacts_directory", lambda: exports)

    def share(gbps):
        outcome = invoke("alexnet", "-d", CHIP, "--dram-gbps", gbps, "--layers", "--json")
        (row,) = check_document(outcome.stdout)["predictions"]
        return sum(layer["share"] for layer in row["layers"] if layer["kind"] == "fc")

    (svhn,) = check_document(invoke("svhn", "-d", CHIP, "--layers", "--json").stdout)["predictions"]

    assert svhn["layers"] == []
    assert share(2) > share(60)


def test_people_read_the_layers():
    outcome = predict("--layers")

    assert "Layers of squeezenet:" in outcome.stdout


def test_people_read_the_memory(exports, monkeypatch):
    monkeypatch.setattr(places, "artifacts_directory", lambda: exports)

    outcome = CliRunner().invoke(
        main.app, ["predict", "svhn", "-d", "nexus7"], env={"COLUMNS": "200"}
    )

    assert "by load [90 %]" in outcome.stdout
    assert ".tflite, fp32" in outcome.stdout
    assert "The latency of svhn cannot be told" in outcome.stdout
    assert "as was measured on computers" in outcome.stdout


def test_a_network_and_a_table_of_the_same_network_are_told_alike(exports, monkeypatch):
    """The table has what an engine runs, the file what somebody wrote."""
    monkeypatch.setattr(places, "artifacts_directory", lambda: exports)

    (named,) = check_document(invoke("alexnet", "-d", CHIP, "--json").stdout)["predictions"]
    rows = check_document(predict("--json").stdout)["predictions"]

    (listed,) = (row for row in rows if row["network"] == "alexnet")
    assert named["latency_ms"] == pytest.approx(listed["latency_ms"], rel=0.002)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-d", "nexus7"), "Either networks or a table of their layers is predicted"),
        (("nin", "--layers-csv", LAYERS, "-d", "nexus7"), "Either networks or a table"),
        (("nin", "nin2", "-d", "nexus7", "--input", "1x3x8x8"), "are for one network"),
        (("nin", "-d", "galaxy-s21"), "The profile galaxy-s21 does not tell one chip"),
        (("nein", "-d", "nexus7"), "nein"),
    ],
)
def test_what_is_asked_for_is_checked(words, message, exports, monkeypatch):
    monkeypatch.setattr(places, "artifacts_directory", lambda: exports)

    outcome = invoke(*words)

    assert isinstance(outcome.exception, MobilekitError)
    assert message in str(outcome.exception)


def test_each_network_is_told_on_each_device(table):
    """By devices, in their order, however they are named; each is told of its own."""
    words = ("--layers-csv", table(lambda row: {}), "--threads", 4, "--json")
    devices = ("SM8350", "nexus7", "SM8350")

    document = check_document(
        invoke(*words, *(word for each in devices for word in ("-d", each))).stdout
    )

    assert [each["device"] for each in document["devices"]] == ["SM8350", "nexus7"]
    told = document["predictions"]
    assert [(each["device"], each["network"]) for each in told] == [
        ("SM8350", "squeezenet"),
        ("nexus7", "squeezenet"),
    ]
    assert told[0]["latency_ms"] < told[1]["latency_ms"]
    for each in told:
        (alone,) = check_document(invoke(*words, "-d", each["device"]).stdout)["predictions"]
        assert alone == each


def test_what_is_known_of_one_phone_is_not_said_of_several(table):
    error = predict("-d", "nexus7", "--dram-gbps", 12.8, layers=table(lambda row: {})).exception

    assert isinstance(error, UsageError)
    assert "are of one phone" in str(error)


@pytest.fixture
def energy_runs(tmp_path):
    """A store with energy runs, of a phone that has drawn 3.38 W, and of ones that do not count."""
    windows = tuple(work(energy_plan(blocks=5, idle_ns=60 * 10**9, load_ns=60 * 10**9))[0])
    place = f"sqlite:///{tmp_path / 'results.sqlite'}"
    store = Store(place)
    own, companion = device_info(name="nexus7"), samples().companion
    for run in (
        measured("own", device=own, windows=windows),
        measured("threads", device=own, windows=windows, companion=replace(companion, threads=2)),
        measured("simulated", device=device_info(name="nexus5"), virtual=True, windows=windows),
    ):
        store.save(run)
    return place


def test_a_phones_own_energy_runs_tell_its_power(energy_runs, table):
    """Those with as many threads; a virtual phone's are not the real one's."""
    words = ("--layers-csv", table(lambda row: {}), "--store", energy_runs, "--json")

    def powers(device, threads):
        document = check_document(invoke(*words, "-d", device, "--threads", threads).stdout)
        return [each["power"] for each in document["devices"]]

    (own,) = powers("nexus7", 4)
    (slower,) = powers("nexus7", 2)
    (single,) = powers("nexus7", 1)
    (other,) = powers("nexus5", 4)

    assert (
        own["told_from"]
        == slower["told_from"]
        == ("its own energy runs, of 1 network, the same for all networks")
    )
    assert own["gross_w"] == pytest.approx(3.38, rel=0.1)
    for each in (single, other):
        assert each["told_from"].startswith("the kind and the clock of its cores")


def test_a_phone_has_a_charge_and_a_chip_alone_has_none(table):
    layers = table(lambda row: {})
    words = ("--layers-csv", layers, "-d", "nexus7", "-d", "APQ8064", "--json")

    phone, chip = check_document(invoke(*words).stdout)["predictions"]

    assert phone["latency_ms"] == chip["latency_ms"]
    assert phone["energy"] == chip["energy"]
    joules = phone["energy"]["gross_j"]
    assert phone["charge"]["inferences"] == pytest.approx(54_000 / joules, rel=1e-6)
    assert chip["charge"] is None
    assert [each["figure"] for each in phone["untold"]] == ["memory"]
    assert [each["figure"] for each in chip["untold"]] == ["charge", "memory"]
    assert "has no battery" in chip["untold"][0]["reason"]
    shown = invoke(*words[:-1]).stdout
    assert "The charge on APQ8064 cannot be told: a chip alone has no battery" in shown
    assert "Battery of nexus7: 54.0 kJ" in shown


@pytest.mark.parametrize(
    ("bounds", "exit_code", "verdict"),
    [
        ("latency<1min, charge>10", 0, "yes"),
        ("latency<1ms", DoesNotFitError.exit_code, "no"),
        ("latency<68ms", CannotTellError.exit_code, "unknown"),
        ("latency<1ms, latency>0.1ms, charge>10", DoesNotFitError.exit_code, "no"),
    ],
)
def test_whether_it_fits_is_the_exit_code(bounds, exit_code, verdict, table):
    words = ("--layers-csv", table(lambda row: {}), "-d", "nexus7", "--fits", bounds)

    outcome = invoke(*words, "--json")

    assert outcome.exit_code == exit_code
    (told,) = check_document(outcome.stdout)["predictions"]
    assert told["fits"]["verdict"] == verdict
    assert [each["criterion"]["text"] for each in told["fits"]["criteria"]] == bounds.split(", ")
    shown = invoke(*words)
    assert shown.exit_code == exit_code
    assert f"  {verdict}, " in shown.stdout


def test_one_network_that_does_not_fit_goes_before_others_that_are_unknown(tmp_path):
    """And all are told."""
    rows = LAYERS.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [row for row in rows[1:] if row.split(",")[0] in ("squeezenet", "vgg16")]
    (tmp_path / "layers.csv").write_text(rows[0] + "".join(kept), encoding="utf-8")

    outcome = invoke(
        "--layers-csv", tmp_path / "layers.csv", "-d", "nexus7", "--fits", "latency<68ms"
    )

    assert outcome.exit_code == DoesNotFitError.exit_code
    assert "squeezenet, predicted  unknown, 5" in outcome.stdout
    assert "vgg16, predicted       no, < 0.1 %" in outcome.stdout


def deployed(network, description, **fields):
    """A run on a virtual phone, of a network whose layers are in the cache."""
    spec = replace(artifact().model, name=network, content_sha256="5" * 64)
    keep_description(spec, description, cache_directory=places.artifacts_directory())
    fields = {"device": device_info(name="nexus7", virtual=True), "virtual": True} | fields
    return measured(artifact=replace(artifact(), model=spec), **fields)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MOBILEKIT_HOME", str(tmp_path))
    places.artifacts_directory().mkdir(parents=True)
    return Store("sqlite://")


@pytest.fixture
def alexnet(exports):
    spec = find_model("alexnet")
    return read_description(spec, cache_directory=exports)


def test_a_virtual_phones_answer_has_what_the_real_one_would_need(home, alexnet):
    """As ``predict`` has it, on a line of its own, which no measured figure is on."""
    run = deployed("alexnet", alexnet)

    predicted = predict_real(run, home)

    (told,) = predicted.predictions
    rows = check_document(predict("--json", chip="nexus7").stdout)["predictions"]
    (listed,) = (row for row in rows if row["network"] == "alexnet")
    assert told.latency_ms == pytest.approx(listed["latency_ms"], rel=0.002)
    text = render_measurement(run, derive_answer(run), predicted).splitlines()
    (line,) = (line for line in text if line.startswith("  predicted "))
    assert line.startswith("  predicted the real nexus7: 196 ms [114 ms, 336 ms], ")
    assert "inferences per charge" in line
    assert line.endswith("from the chip alone; measured before")
    assert "90 %, as of ncnn" in line


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"device": device_info(name="galaxy-s21", virtual=True)}, "the profile galaxy-s21 does"),
        ({"device": device_info(name="gone", virtual=True)}, "'gone' is no cluster"),
        ({"request": run_request(threads=64)}, "64 threads do not fit 4 cores"),
    ],
)
def test_what_keeps_the_real_phone_from_being_told_ends_nothing(fields, reason, home, alexnet):
    (told,) = predict_real(deployed("alexnet", alexnet, **fields), home).predictions

    assert told.latency_ms is None
    assert reason in told.reasons[0]


def test_only_fp32_of_a_described_network_is_told_of_a_real_phone(home, alexnet):
    run = deployed("alexnet", alexnet)
    spec = run.artifact.model
    int8 = replace(spec, variant=Variant(precision="int8"))
    other = replace(spec, content_sha256="6" * 64)

    def reason(model):
        changed = replace(run, artifact=replace(run.artifact, model=model))
        predicted = predict_real(changed, home)
        text = render_measurement(changed, derive_answer(changed), predicted)
        assert "  predicted the real nexus7 cannot be told: " in text
        return predicted.predictions[0].reasons[0]

    assert reason(int8) == "no phone was measured in int8"
    assert reason(other).startswith("its layers are not counted")
    assert predict_real(replace(run, virtual=False), home) is None


def test_the_list_of_networks_has_their_latency_on_a_phone(exports, monkeypatch):
    """In its order, as ``predict`` has it; and one network's card."""
    monkeypatch.setattr(places, "artifacts_directory", lambda: exports)

    def run(*words):
        return CliRunner().invoke(main.app, ["models", *words], env={"COLUMNS": "200"})

    document = check_document(run("--device", "nexus7", "--json").stdout)
    told = document["predicted"]["predictions"]
    assert [each["network"] for each in told] == [
        each["model"]["name"] for each in document["models"]
    ]
    by_name = {each["network"]: each for each in told}
    (alone,) = check_document(invoke("alexnet", "-d", "nexus7", "--json").stdout)["predictions"]
    assert by_name["alexnet"]["latency_ms"] == pytest.approx(alone["latency_ms"])
    shown = run("--device", "nexus7").stdout
    assert "latency on nexus7 [90 %]" in shown
    assert "196 ms [114 ms, 336 ms] (predicted)" in shown
    assert "Why it cannot be told: `mobilekit predict deep_kws --device nexus7`." in shown
    assert "  predicted nexus7: 196 ms [" in run("alexnet", "-d", "nexus7").stdout
    assert "predicted" not in run("alexnet").stdout
    assert check_document(run("alexnet", "--json").stdout)["predicted"] is None


def test_people_read_what_it_is_told_from_and_how_far_that_was_right():
    outcome = predict("--threads", 4)

    assert outcome.exit_code == 0
    assert "4 threads · predicted, as of ncnn" in outcome.stdout
    assert "the chip alone; measured before" in outcome.stdout
    assert "From the chip alone, a network measured elsewhere was predicted to" in outcome.stdout


def only(**fields):
    return lambda row: fields


def times(factor):
    return lambda row: {name: int(row[name]) * factor for name in ("macs", "weights")}


REFUSED = {
    "core": ({"chip": "4xA76@2.4,4xQ99@1.8"}, "Cannot tell what a core 'Q99'"),
    "no chip": ({"chip": ""}, "is no cluster"),
    "no cores": ({"chip": "0xA76@2.4"}, "is no cluster that a phone has"),
    "clock": ({"chip": "4xA76@99"}, "is no cluster that a phone has"),
    "no clock": ({"chip": "4xA76@0"}, "is no cluster that a phone has"),
    "negative clock": ({"chip": "4xA76@-2"}, "is no cluster"),
    "clock that is none": ({"chip": "4xA76@nan"}, "is no cluster"),
    "many cores": ({"chip": "4000xA76@2"}, "is no cluster that a phone has"),
    "another script's digits": ({"chip": "\u0664xA76@2.4"}, "is no cluster"),
    "a thousand clusters": ({"chip": ",".join(["1xA76@2.4"] * 1000)}, "more than 128 cores"),
    "endless clock": ({"chip": "4xA76@1e308"}, "is no cluster"),
    "endless memory": ({"arguments": ("--dram-gbps", "1e308")}, "No memory moves"),
    "threads": ({"arguments": ("--threads", "16")}, "16 threads do not fit 8 cores"),
    "no threads": ({"arguments": ("--threads", "0")}, "0 threads do not fit 8 cores"),
    "many fast cores": (
        {"chip": "64xX4@4", "arguments": ("--threads", "64")},
        "as much as 64 of its fastest, and 1 to 8 were measured",
    ),
    "slow clock": ({"chip": "8xA78@0.2"}, "at 0.2 GHz, and 1 to 3.2 were measured"),
    "memory": ({"arguments": ("--dram-gbps", "-3")}, "No memory moves"),
    "memory that is none": ({"arguments": ("--dram-gbps", "nan")}, "No memory moves"),
    "larger": ({"change": times(1000)}, "it is larger than any network"),
    "nothing multiplied": (
        {"change": only(macs=0, weights=0, kind="elt", type="ReLU")},
        "no layer of it multiplies",
    ),
    "attention": ({"change": only(type="MultiHeadAttention")}, "type that was not measured"),
    "kind": ({"change": only(kind="attention")}, "kind that was not measured"),
    "products of a matrix": (
        {"change": only(kind="fc", type="InnerProduct", macs=10**8, weights=10**5)},
        "by more than one vector",
    ),
    "connected layers alone": (
        {"change": only(kind="fc", type="InnerProduct", macs=10**6, weights=10**6)},
        "goes into the weights of fully connected layers",
    ),
    "negative count": ({"change": only(macs=-5)}, "macs is '-5'"),
    "stride": ({"change": only(stride=-1)}, "stride is '-1'"),
    "a layer twice": ({"change": only(index=7)}, "layer '7' of squeezenet is there a second time"),
    "groups": ({"change": only(groups=10**17)}, "Each group writes at least one element"),
    "groups that are none": ({"change": only(groups="many")}, "groups is 'many'"),
    "count beyond all": ({"change": only(macs=10**30)}, "macs is '1000000"),
    "count that is none": ({"change": only(macs="nan")}, "macs is 'nan'"),
    "known, not there": ({"known": "nothing,5"}, "is known, and its layers are not"),
    "known, negative": ({"known": "squeezenet,-5"}, "is no latency"),
    "known, no number": ({"known": "squeezenet,nan"}, "ms is 'nan'"),
    "known, zero": ({"known": "squeezenet,0"}, "is no latency"),
    "known, endless": ({"known": "squeezenet,1e999"}, "is no latency"),
    "known, another script's digits": ({"known": "squeezenet,\u0661\u0665"}, "ms is "),
    "known for ages": ({"known": "squeezenet,1e308"}, "times what this chip lets expect"),
    "known for no time": ({"known": "squeezenet,1e-308"}, "times what this chip lets expect"),
    "known, none": ({"known": ""}, "No latency is known there"),
    "known twice": ({"known": "squeezenet,5\nsqueezenet,6"}, "is known twice"),
    "known in ns": ({"known": "squeezenet,8000000"}, "times what this chip lets expect"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_outside_of_the_range_is_refused(name, table, tmp_path):
    """No number, a reason, and an exit code that is not 0."""
    given, reason = REFUSED[name]
    arguments = list(given.get("arguments", ()))
    if "known" in given:
        (tmp_path / "known.csv").write_text(f"network,ms\n{given['known']}\n", encoding="utf-8")
        arguments += ["--known", tmp_path / "known.csv"]
    layers = table(given.get("change", lambda row: {}))

    outcome = predict("--json", *arguments, layers=layers, chip=given.get("chip", CHIP))

    if isinstance(outcome.exception, MobilekitError):
        assert not outcome.stdout
        assert reason in str(outcome.exception)
    else:
        (told,) = check_document(outcome.stdout)["predictions"]
        assert (told["latency_ms"], told["low_ms"], told["high_ms"]) == (None, None, None)
        assert any(reason in each for each in told["reasons"])
        assert outcome.exit_code == CannotTellError.exit_code


@pytest.mark.parametrize("chip", ["100xA76@9.9", "1xX4@0.1", "128xA55@0.5"])
def test_a_power_is_told_of_no_chip_that_no_time_is_told_of(chip, tmp_path):
    """Neither where the time is told from a known latency."""
    outcome = predict("--json", chip=chip)

    document = check_document(outcome.stdout)
    assert [each["power"] for each in document["devices"]] == [None]
    assert {each["energy"] for each in document["predictions"]} == {None}


def test_a_known_latency_tells_no_power(table, tmp_path):
    """Of a chip so fast that none like it was measured."""
    (tmp_path / "known.csv").write_text("network,ms\nsqueezenet,2\n", encoding="utf-8")

    outcome = predict(
        "--json", "--known", tmp_path / "known.csv", layers=table(lambda row: {}), chip="16xX4@9"
    )

    (told,) = check_document(outcome.stdout)["predictions"]
    assert told["latency_ms"] is not None
    assert told["energy"] is None
    assert any("an energy run on it tells" in each["reason"] for each in told["untold"])


def test_a_table_may_be_written_otherwise(tmp_path):
    """As other programs write one: other line ends, an order of their own, columns more, blanks."""
    with LAYERS.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = [*reversed(rows[0]), "note"]
    lines = [columns, *([row.get(name, "mine") for name in columns] for row in rows), [" "]]
    text = "\r\n\r\n".join(", ".join(line) for line in lines)
    (tmp_path / "layers.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (tmp_path / "known.csv").write_bytes(b"ms , network\r\n6, squeezenet\r\n\r\n")
    (tmp_path / "plain.csv").write_text("network,ms\nsqueezenet,6\n", encoding="utf-8")

    otherwise = predict(
        "--json", "--known", tmp_path / "known.csv", layers=tmp_path / "layers.csv",
        chip=" 4 x Cortex A76 @ 2.4 , 4Xa55@1.8GHz"
    )  # fmt: skip

    told = check_document(otherwise.stdout)["predictions"]
    plain = check_document(predict("--json", "--known", tmp_path / "plain.csv").stdout)
    of_plain = {each["network"]: each["latency_ms"] for each in plain["predictions"]}
    assert {each["network"]: each["latency_ms"] for each in told} == of_plain


def test_one_network_that_cannot_be_told_leaves_the_others(tmp_path):
    """It says why, and the command succeeds."""
    text = LAYERS.read_text(encoding="utf-8")
    (tmp_path / "both.csv").write_text(
        text + "vit,0,LayerNorm,elt,0,0,10,10,0,1,1\n", encoding="utf-8"
    )

    outcome = predict(layers=tmp_path / "both.csv")

    assert outcome.exit_code == 0
    assert "vit cannot be told: its layer 0 is of a type that was not measured" in outcome.stdout
    assert outcome.stdout.count("the chip alone; measured") == 24


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("network,kind\nmine,pw\n", "no column index, type, macs"),
        ("", "no column"),
        ("network,ms\nmine\n", "no column"),
        ('"unclosed', "cannot be read"),
        ("\x00", "no column"),
        (LAYERS.read_text(encoding="utf-8").replace("groups", "macs", 1), "no column groups"),
        (
            LAYERS.read_text(encoding="utf-8").replace("groups", "groups,macs", 1),
            "two columns macs",
        ),
    ],
)
def test_a_file_that_is_no_table_of_layers_says_so(text, reason, tmp_path):
    (tmp_path / "layers.csv").write_text(text, encoding="utf-8")

    error = predict(layers=tmp_path / "layers.csv").exception

    assert isinstance(error, MobilekitError)
    assert reason in str(error)


@pytest.mark.parametrize(
    "words",
    [("--layers-csv", str(LAYERS), "--chip", CHIP), ("alexnet", "--device", "nexus7")],
    ids=["a table", "a name"],
)
@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
def test_nothing_heavy_is_imported(words, as_json, cli, tmp_path):
    """A prediction is there at once, of what has been described and with nothing stored."""
    arguments = ["mobilekit", "predict", *words, *(["--json"] if as_json else [])]
    heavy = (
        "torch",
        "scipy",
        "pandas",
        "pint",
        "matplotlib",
        "sqlalchemy",
        "rich.progress",
        "pydantic",
    )
    cli_code = (
        "import sys; from mobilekit.cli.main import app; "
        f"sys.argv = {arguments}\n"
        "try: app()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    environment = {
        name: value for name, value in cli.environment.items() if name != "MOBILEKIT_STORE"
    }

    ended = subprocess.run(
        [sys.executable, "-c", cli_code],
        env=environment | {"MOBILEKIT_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )

    assert ended.stderr.strip().splitlines()[-1] == "[]"
