"""``predict`` of phones that a person has measured: from the runs that are stored."""

import math

import pytest
from examples import artifact, device_info, measured, measurement, samples
from msgspec.structs import replace
from recordings import write_recording
from schemas import check_document
from typer.testing import CliRunner

from mobilekit import places
from mobilekit.analysis.findings import REPLAYED
from mobilekit.analysis.predict.work import work_of
from mobilekit.cli import main
from mobilekit.contract.protocol import PROTOCOL_VERSION, RunSuccess
from mobilekit.errors import UsageError
from mobilekit.flow.predict import PhoneOptions, predict_models
from mobilekit.flow.shipped import load_predictor
from mobilekit.model.describe import find_description
from mobilekit.model.zoo import find_model, list_models, with_variant
from mobilekit.records.network import Variant
from mobilekit.records.prediction import EarlierPrediction
from mobilekit.results.store import Store
from mobilekit.runner.host import read_computer
from mobilekit.units import NS_PER_MS

PIXEL = device_info(
    serial="PIX1", hardware_serial="PIX1", name="pixel-3", device="blueline", soc="SDM845"
)
OTHER = replace(PIXEL, serial="PIX2", hardware_serial="PIX2", name="my-other")
VIRTUAL = replace(PIXEL, serial="127.0.0.1:5", hardware_serial="", name="nexus7", virtual=True)
KNOWN = ("squeezenet", "mobilenet_v1")


@pytest.fixture(scope="module")
def usual_ms(tmp_path_factory):
    """What the shipped model tells of the Pixel's chip with four threads."""
    told = predict_models(
        [*KNOWN, "googlenet"],
        ["SDM845"],
        PhoneOptions(threads=4),
        cache_directory=tmp_path_factory.mktemp("cache"),
    )
    return {each.network: each.latency_ms for each in told.predictions}


@pytest.fixture
def url(tmp_path):
    """Of a store that ``keep`` fills."""
    return f"sqlite:///{tmp_path / 'own.sqlite'}"


@pytest.fixture
def keep(url):
    """Stores a run of a network that took so many ms."""
    numbers = iter(range(1000))

    def save(name, latency_ms, device=PIXEL, precision="fp32", **fields):
        spec = with_variant(find_model(name), Variant(precision=precision))
        made = artifact(model=spec)
        times = tuple(round(latency_ms * NS_PER_MS * factor) for factor in (0.9, 1, 1, 1.3))
        run = measurement(
            id=f"run-{next(numbers)}",
            artifact=made,
            device=device,
            virtual=device.virtual,
            result=RunSuccess(
                protocol_version=PROTOCOL_VERSION,
                run_id="run",
                samples=samples(iteration_ns=times),
            ),
            **fields,
        )
        Store(url).save(run)

    return save


def predict(url, *words):
    outcome = CliRunner().invoke(
        main.app, ["predict", *words, "--store", url], env={"COLUMNS": "200"}
    )
    if outcome.exception is not None and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    return outcome


def document(url, *words):
    outcome = predict(url, *words, "--json")
    return check_document(outcome.stdout)


def test_what_was_measured_on_a_phone_tells_its_other_networks(keep, url, usual_ms):
    """By its serial or name; the median of a run is fitted, and of several runs their median."""
    for name in KNOWN:
        for factor in (2, 2.1, 9):
            keep(name, usual_ms[name] * factor)

    by_serial, by_name = (document(url, "googlenet", "-d", name) for name in ("PIX1", "pixel-3"))

    (told,) = by_serial["predictions"]
    assert by_name["predictions"][0]["latency_ms"] == told["latency_ms"]
    assert told["latency_ms"] == pytest.approx(2.1 * usual_ms["googlenet"], rel=0.12)
    assert told["low_ms"] < told["latency_ms"] < told["high_ms"]
    assert (told["known"], told["origin"]) == (2, "predicted")
    (phone,) = by_serial["devices"]
    assert phone["engine"] == "ExecuTorch, fp32, median of a run"
    assert phone["threads"] == 4
    assert phone["own"] == {
        "setting": {"format": "pte", "precision": "fp32"},
        "networks_here": 2,
        "runs_elsewhere": 0,
        "origin": "measured",
    }
    text = predict(url, "googlenet", "-d", "PIX1").stdout
    assert "Told from your own runs: 2 networks here with ExecuTorch, fp32" in text


def test_a_precision_is_learned_from_another_phone_and_refused_before(keep, url, usual_ms):
    keep("squeezenet", usual_ms["squeezenet"] * 2)
    refused = document(url, "googlenet", "-d", "PIX1", "--precision", "int8")
    for precision, factor in (("fp32", 2), ("int8", 1)):
        keep("squeezenet", usual_ms["squeezenet"] * factor, OTHER, precision)

    told = document(url, "googlenet", "-d", "PIX1", "--precision", "int8")

    assert (
        "nothing was measured yet with ExecuTorch, int8" in refused["predictions"][0]["reasons"][0]
    )
    assert told["predictions"][0]["latency_ms"] == pytest.approx(usual_ms["googlenet"], rel=0.2)
    assert told["devices"][0]["own"]["networks_here"] == 0


def test_a_virtual_phone_and_a_real_one_tell_nothing_of_each_other(keep, url, usual_ms):
    """A virtual phone's chip is not known: it is told from its own runs, and says that these are
    simulated."""
    for name in KNOWN:
        keep(name, usual_ms[name] / 20, VIRTUAL)

    virtual = document(url, "googlenet", "-d", "virtual:nexus7")
    real = document(url, "googlenet", "-d", "nexus7")

    assert virtual["predictions"][0]["latency_ms"] == pytest.approx(
        usual_ms["googlenet"] / 20, rel=0.25
    )
    assert virtual["devices"][0]["own"]["origin"] == "simulated"
    assert virtual["devices"][0]["chip"] == "a chip that is not known"
    assert real["devices"][0]["own"] is None
    assert real["devices"][0]["engine"].startswith("ncnn")
    text = predict(url, "googlenet", "-d", "virtual:nexus7").stdout
    assert "Told from your own runs of virtual phones: 2 networks" in text


def test_a_run_that_was_only_played_again_tells_nothing(keep, url, usual_ms):
    keep("squeezenet", usual_ms["squeezenet"], findings=(REPLAYED,))

    with pytest.raises(UsageError, match="'PIX1' is no cluster of cores"):
        predict(url, "googlenet", "-d", "PIX1")


def test_known_latencies_go_before_own_runs(keep, url, usual_ms, tmp_path):
    keep("squeezenet", usual_ms["squeezenet"] * 2)
    table = tmp_path / "known.csv"
    table.write_text(f"network,ms\nsqueezenet,{usual_ms['squeezenet']}\n", encoding="utf-8")

    told = document(
        url, "squeezenet", "googlenet", "-d", "SDM845", "--threads", "4", "--known", str(table)
    )

    assert told["predictions"][1]["latency_ms"] == pytest.approx(usual_ms["googlenet"], rel=0.1)


def test_another_memory_is_told_of_the_same_phone(keep, url, usual_ms):
    """Its own runs stay its own, and a memory that no phone has is refused."""
    for name in KNOWN:
        keep(name, usual_ms[name] * 2)

    told = document(url, "googlenet", "-d", "PIX1", "--dram-gbps", "20")

    assert told["devices"][0]["own"]["networks_here"] == 2
    assert told["predictions"][0]["known"] == 2
    for nonsense in ("0", "-3"):
        with pytest.raises(UsageError, match="No memory moves"):
            predict(url, "googlenet", "-d", "PIX1", "--dram-gbps", nonsense)


def test_a_network_outside_of_the_fit_tells_nothing(keep, url, usual_ms):
    """With nothing else measured a phone that has a profile is told from its chip."""
    nexus = replace(PIXEL, name="nexus7", soc="APQ8064")
    keep("nin", 500, nexus)
    from_chip = document(url, "alexnet", "-d", "nexus7")
    keep("squeezenet", usual_ms["squeezenet"], nexus)

    (told,) = document(url, "alexnet", "-d", "nexus7")["devices"]

    assert from_chip["devices"][0]["own"] is None
    assert from_chip["predictions"][0]["latency_ms"] is not None
    assert told["own"]["networks_here"] == 1


def test_an_extrapolated_network_that_was_measured_tells_of_itself_alone(keep, url, usual_ms):
    keep("squeezenet", usual_ms["squeezenet"])
    before, other = document(url, "nin", "googlenet", "-d", "PIX1")["predictions"]
    keep("nin", before["latency_ms"] / 1.45)

    after, unmoved = document(url, "nin", "googlenet", "-d", "PIX1")["predictions"]

    assert before["extrapolation"] is not None
    assert (after["known"], after["extrapolation"]) == (2, None)
    assert after["latency_ms"] == pytest.approx(before["latency_ms"] / 1.45, rel=0.1)
    assert unmoved["known"] == other["known"] == 1
    assert unmoved["latency_ms"] == pytest.approx(other["latency_ms"])


def test_a_computer_without_runs_is_refused(url):
    """As a virtual phone is: nothing else tells of either."""
    Store(url)
    for device in ("pc", "virtual:nexus7"):
        outcome = predict(url, "alexnet", "-d", device, "--json")
        (told,) = check_document(outcome.stdout)["predictions"]
        assert outcome.exit_code == 5
        assert "nothing was measured yet" in told["reasons"][0]


def test_two_phones_of_one_name_are_told_apart_by_their_serials(keep, url, usual_ms):
    keep("squeezenet", usual_ms["squeezenet"])
    keep("squeezenet", usual_ms["squeezenet"], replace(OTHER, name=PIXEL.name))

    with pytest.raises(UsageError, match="Several phones that were measured are called 'pixel-3'"):
        predict(url, "googlenet", "-d", "pixel-3")
    assert predict(url, "googlenet", "-d", "PIX2").exit_code == 0


# --- scores --------------------------------------------------------------------------------------


def earlier(latency_ms, half=0.2, **fields):
    latency_ns = latency_ms * NS_PER_MS
    values = {
        "latency_ns": latency_ns,
        "low_ns": latency_ns * math.exp(-half),
        "high_ns": latency_ns * math.exp(half),
        "known": 3,
        "seen": True,
        "threads": 4,
        "widening": 1.0,
    }
    return EarlierPrediction(**(values | fields))


def test_predictions_are_scored_against_what_was_measured_after_them(keep, url):
    """On real phones and on virtual ones apart; a run with other threads than were predicted is
    another run's."""
    keep("squeezenet", 10, predicted=earlier(11))
    keep("googlenet", 10, predicted=earlier(20))
    keep("alexnet", 10, predicted=earlier(99, threads=2))
    keep("vgg16", 10)
    keep("squeezenet", 10, VIRTUAL, predicted=earlier(9, known=0))

    told = document(url, "--score")

    phones, virtual = told["scores"]
    assert (phones["population"], phones["predictions"], phones["coverage"]) == ("phones", 2, 0.5)
    assert phones["median_ape_percent"] == pytest.approx((10 + 100) / 2)
    assert phones["bias_percent"] == pytest.approx((math.sqrt(1.1 * 2) - 1) * 100)
    assert phones["widening"] > 1
    assert (virtual["population"], virtual["known_most"]) == ("virtual phones", 0)
    origins = {(each["model"], each["measured_origin"]) for each in told["predictions"]}
    assert origins == {
        ("squeezenet", "simulated"),
        ("squeezenet", "measured"),
        ("googlenet", "measured"),
    }
    assert {each["origin"] for each in told["predictions"]} == {"predicted"}
    text = predict(url, "--score").stdout
    assert "3 or more" in text
    assert "55.0 %" in text


def test_a_deploy_is_predicted_before_it(keep, url, usual_ms, exports, monkeypatch, tmp_path):
    """From another network of the phone; the prediction is stored, and shown beside the run."""
    monkeypatch.setattr(places, "artifacts_directory", lambda: exports)
    keep("mobilenet_v1", usual_ms["mobilenet_v1"] * 2)
    took_ns = round(usual_ms["squeezenet"] * 2 * NS_PER_MS)
    modern = replace(PIXEL, abi="arm64-v8a", android_sdk=33, cpu_features=("atomics",))
    run = measured("squeezenet", device=modern, iteration_ns=(took_ns,) * 30)
    recording = write_recording(tmp_path / "recording", run)

    words = ["deploy", "squeezenet", "-d", f"replay:{recording}", "--no-energy", "--store", url]
    text = CliRunner().invoke(main.app, words, env={"COLUMNS": "200"}).stdout

    predicted = next(Store(url).iterate_measurements("squeezenet")).predicted
    assert predicted.known == 1
    assert predicted.latency_ns == pytest.approx(took_ns, rel=0.15)
    (line,) = (line for line in text.splitlines() if line.startswith("  expected"))
    assert "predicted before the run, from 1 other network measured here: " in line
    assert "within its 90 % interval" in line


def test_without_any_a_score_says_what_makes_one(url, keep):
    keep("squeezenet", 10)

    assert "No stored run was predicted before it" in predict(url, "--score").stdout
    assert document(url, "--score")["scores"] == []


def test_intervals_widen_by_what_was_scored(keep, url, usual_ms):
    """Of a phone on which predictions from three networks or more were wrong again and again."""
    for name in ("squeezenet", "mobilenet_v1", "shufflenet"):
        keep(name, usual_ms.get(name, 5.0))
    (before,) = document(url, "googlenet", "-d", "PIX1")["predictions"]
    for number in range(40):
        keep(
            "alexnet",
            10,
            replace(OTHER, serial=f"O{number}", hardware_serial=f"O{number}"),
            predicted=earlier(20),
        )

    (after,) = document(url, "googlenet", "-d", "PIX1")["predictions"]

    widths = [math.log(each["high_ms"] / each["low_ms"]) for each in (before, after)]
    assert widths[1] > 2 * widths[0]


def test_score_predicts_nothing_by_the_way(url):
    with pytest.raises(UsageError, match="--score is of all predictions"):
        predict(url, "nin", "-d", "nexus7", "--score")
    ignored = (
        "--threads 2",
        "--dram-gbps 0",
        "--layers",
        "--fits latency<1s",
        "--format pte",
        "--level 2",
    )
    for words in map(str.split, ignored):
        with pytest.raises(UsageError, match="--score is of all predictions"):
            predict(url, "--score", *words)
    with pytest.raises(UsageError, match="No phone is named"):
        predict(url, "nin")


# --- calibration ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nin", "-d", "pc", "--calibrate"), "--calibrate measures networks of its own choice"),
        (("--calibrate",), "--calibrate is of one phone"),
        (("-d", "pc", "--calibrate", "--layers"), "--calibrate measures networks of its own"),
        (("-d", "pc", "--calibrate", "--dram-gbps", "0"), "--calibrate measures networks of its"),
        (("-d", "pc", "--calibrate", "--level", "2"), "--calibrate measures networks of its own"),
        (("--calibrate", "-d", "pc", "-d", "nexus7"), "--calibrate is of one phone"),
        (("nin", "-d", "pc", "--networks", "1"), "--networks is of --calibrate"),
    ],
)
def test_a_calibration_is_of_one_phone_and_predicts_nothing(url, words, message):
    with pytest.raises(UsageError, match=message):
        predict(url, *words)


def keep_all_but_squeezenet(keep, exports, device):
    predictor = load_predictor()
    for spec in list_models():
        work = work_of(spec.name, find_description(spec, cache_directory=exports))
        if spec.name != "squeezenet" and predictor.is_within_fitted(work):
            keep(spec.name, predictor.reference_ms(work), device)


def test_a_calibration_measures_what_is_left_to_tell(keep, url, exports, monkeypatch):
    """Of a computer on which all other packaged networks were measured; once it has been, nothing
    is left. It is stored as any measurement is."""
    monkeypatch.setattr(places, "artifacts_directory", lambda: exports)
    keep_all_but_squeezenet(keep, exports, read_computer())
    words = ("--calibrate", "-d", "pc", "--networks", "1")  # with as many threads as the others

    done = document(url, *words)["calibration"]

    (measured_one,) = done["measured"]
    assert measured_one["network"] == "squeezenet"
    stored = Store(url).find(measured_one["measurement_id"])
    assert (stored.purpose, stored.predicted.known) == ("measure", done["before"]["told"] - 1)
    assert stored.result.samples.companion.threads == done["threads"] == 4
    assert done["before"]["networks"] == done["before"]["told"]
    assert done["after"]["median_factor"] > 1
    assert done["origin"] == "measured"
    with pytest.raises(UsageError, match="No packaged network is left"):
        predict(url, *words)


def test_a_virtual_phone_is_calibrated(keep, url, exports, cli):
    """Over adb; what it tells is called simulated, and that it stands in is said once."""
    keep_all_but_squeezenet(keep, exports, VIRTUAL)

    outcome = cli("predict", "--calibrate", "-d", "nexus7", "--networks", "1", "--store", url)

    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.stderr.count("stands in") == 1
    assert "a virtual phone: its latency is this computer's" in outcome.stdout
    (run,) = (each for each in Store(url).list_latencies() if each.model.name == "squeezenet")
    assert run.device.key == VIRTUAL.key
    told = cli("predict", "googlenet", "-d", "virtual:nexus7", "--store", url, "--json").document
    (phone,) = told["devices"]
    assert (phone["own"]["origin"], told["predictions"][0]["origin"]) == ("simulated", "predicted")


def test_a_file_in_fp32_is_predicted_in_fp32(keep, url, usual_ms, tmp_path):
    """Whatever precision is usual on the phone."""
    for device in (PIXEL, OTHER):
        keep("squeezenet", usual_ms["squeezenet"], device, "int8")
    model, file = tmp_path / "layers.py", tmp_path / "small.json"
    layers = (
        "nn.Conv2d(64, 64, 1), nn.ReLU(), nn.Conv2d(64, 64, 1), nn.Flatten(), nn.Linear(50176, 4)"
    )
    model.write_text(
        "from torch import nn\n\nINPUT_SHAPES = ((1, 64, 28, 28),)\n\n\n"
        f"def build():\n    return nn.Sequential({layers})\n"
    )
    ranks = '{"ranks": [{"layer": "0", "rank": 8}]}'
    file.write_text(
        '{"schema": "mobilekit.compressed/1", "model": "layers", "precision": "fp32", '
        f'"compression": {ranks}}}'
    )

    told = document(url, str(model), "-d", "PIX1", "--compressed", str(file))

    assert told["devices"][0]["own"]["setting"]["precision"] == "fp32"
