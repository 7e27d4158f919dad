"""Campaigns as a person runs them: from a file, killed, stopped, resumed; and the small form."""

import itertools
import json
import os
import signal
import time

import pytest
from browser import CHROMIUM, fetch_axe, running_browser
from examples import measured
from msgspec.structs import replace
from recordings import write_recording
from replaying import ReplayCompanion
from schemas import check_document
from tiny_model import TINY_MODEL

from mobilekit.phone.profiles import load_profiles
from mobilekit.results.campaigns import Campaigns
from mobilekit.results.store import Store

pytest.importorskip("dbos")

MODELS = ("tiny.py", "tiny_two.py")


@pytest.fixture(autouse=True)
def two_models(model_directory):
    source = TINY_MODEL.replace("8, 4", "8, 5")
    (model_directory / "tiny_two.py").write_text(source, encoding="utf-8")


@pytest.fixture
def cli(cli, tmp_path):
    """With a state of its own: one host carries out campaigns under a name at a time."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "cache").symlink_to(f"{cli.environment['MOBILEKIT_HOME']}/cache")
    cli.environment["MOBILEKIT_HOME"] = str(home)
    return cli


@pytest.fixture
def store(cli):
    return Store(cli.environment["MOBILEKIT_STORE"])


@pytest.fixture
def campaigns(cli):
    return Campaigns(cli.environment["MOBILEKIT_STORE"])


@pytest.fixture
def write_campaign(cli, tmp_path):
    """Writes a file of both models on so many recorded phones."""

    def write(phones, repeats=1, more=""):
        devices = [
            f"replay:{write_recording(tmp_path / f'phone{number}', measured())}"
            for number in range(phones)
        ]
        path = cli.directory / "campaign.toml"
        path.write_text(
            f"models = {list(MODELS)}\ndevices = {devices}\nrepeats = {repeats}\nseed = 1\n"
            f'preset = "fast"\n{more}',
            encoding="utf-8",
        )
        return path

    return write


def lines_of(outcome):
    return [check_document(line) for line in outcome.stdout.splitlines()]


def wait_until(condition, timeout_s=150):
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it does not come about"
        time.sleep(0.05)


def test_a_killed_campaign_is_resumed(cli, write_campaign, campaigns, store):
    """60 runs on six phones: what ran before the kill is not run again, and each is stored once."""
    process = cli.start("campaign", "run", write_campaign(phones=6, repeats=5))
    wait_until(
        lambda: (
            campaigns.list_campaigns(print)
            and campaigns.count_states(campaigns.find("last").id)["done"] >= 15
        )
    )
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    campaign = campaigns.find("last").id
    before = {run.key: run.result_id for run in campaigns.list_runs(campaign, states=["done"])}

    resumed = cli("campaign", "resume")

    assert resumed.exit_code == 0, resumed.stderr
    after = {run.key: run.result_id for run in campaigns.list_runs(campaign)}
    assert len(after) == 60
    assert before.items() <= after.items()
    assert sorted(store.result_ids()) == sorted(after.values())
    assert {each.campaign for each in store.iterate_measurements()} == {campaign}
    assert f"{campaign} · fast · 60 runs: 60 done" in resumed.stdout


def test_every_line_is_a_document(cli, write_campaign):
    """A line for each run as it ends, and the whole at the end; a page, where one is asked for."""
    path, page = write_campaign(phones=1), cli.directory / "page.html"
    refused = cli("campaign", "run", path, "--detach", "--report", page)
    assert (refused.exit_code, page.exists()) == (2, False)
    outcome = cli.start("campaign", "run", path, "--json", "--report", page)
    stdout, stderr = outcome.communicate(timeout=120)
    *events, whole = [check_document(line) for line in stdout.splitlines()]

    assert outcome.returncode == 0, stderr
    assert f"Wrote {page}: 2 results" in stderr
    assert all(run["result_id"] in page.read_text("utf-8") for run in whole["runs"])
    assert {event["schema"] for event in events} == {"mobilekit.campaign-event/1"}
    assert {event["run"]["key"] for event in events} == {run["key"] for run in whole["runs"]}
    assert whole["counts"] == {"done": 2}
    status = cli("campaign", "status", whole["campaign"]["id"][:-2], "--json").document
    assert status["runs"] == whole["runs"]
    assert cli("campaign", "list", "--json").document["campaigns"][0]["counts"] == {"done": 2}


def test_some_that_fail_end_it_with_a_code_of_its_own(cli, write_campaign):
    """A recording that has no run like the one that is asked for: the others go on."""
    path = write_campaign(phones=1, more='formats = ["pte", "onnx"]\n')
    (cli.directory / "tiny_two.py").write_text("this is no network", encoding="utf-8")
    refused = cli("campaign", "run", path)
    assert refused.exit_code == 2
    assert "tiny_two.py" in refused.stderr
    assert cli("campaign", "list").stdout.startswith("There is no campaign yet")

    # Sound to look at, and it fails when it is built.
    (cli.directory / "tiny_two.py").write_text(TINY_MODEL.replace("8, 4", "7, 4"), encoding="utf-8")
    failed = cli("campaign", "run", path)

    assert failed.exit_code == 8
    assert "2 of 4 runs failed" in failed.stderr
    assert "4 runs: 2 done, 2 failed" in failed.stdout
    assert "failed tiny-two-py" in cli("campaign", "status", "--all").stdout


@pytest.fixture
def slow_phone(make_bench_phone):
    """A virtual phone whose runs take ten seconds, and nothing of this computer's processor."""
    samples = measured().result.samples
    return make_bench_phone(
        companion_type=lambda directory: ReplayCompanion(directory, samples, pace_s=1.5)
    )


def test_a_stopped_run_frees_its_phone_at_once(cli, campaigns, slow_phone):
    """And not before it has stopped there, of minutes that it would take; the campaign is
    incomplete, and can be resumed."""
    slow_phone.companion._pace_s = 20.0
    (cli.directory / "slow.toml").write_text(
        f'models = ["tiny.py"]\ndevices = ["{slow_phone.serial}"]\nrepeats = 2\npreset = "fast"\n'
        'formats = ["pte"]\n',
        encoding="utf-8",
    )
    process = cli.start("campaign", "run", "slow.toml")
    wait_until(lambda: slow_phone.companion.running_pids())

    assert cli("campaign", "stop").exit_code == 0
    asked_s = time.monotonic()
    campaign = campaigns.find("last").id
    while campaigns.list_runs(campaign, states=["running", "stopping"]):
        assert time.monotonic() - asked_s < 15
        time.sleep(0.01)

    assert not slow_phone.companion.running_pids()
    assert process.wait(30) == 9
    assert "2 stopped" in cli("campaign", "status").stdout


@pytest.mark.soak
def test_phones_that_compute_nothing_here_go_side_by_side(cli, campaigns, make_phone, tmp_path):
    """On eight virtual phones with a companion that plays runs again there is a moment at which
    all are under way."""
    samples = measured().result.samples
    profile = load_profiles()["nexus7"]

    def attach(number):
        directory = tmp_path / f"phone{number}"
        directory.mkdir()
        own = replace(
            profile,
            name=f"bench{number}",
            title=f"Bench {number}",
            match=replace(profile.match, devices=(f"bench{number}",)),
        )
        companion = ReplayCompanion(directory, samples, pace_s=3.0)
        return make_phone(profile=own, directory=directory, companion=companion)

    phones = [attach(number) for number in range(8)]

    (cli.directory / "eight.toml").write_text(
        f'models = ["tiny.py"]\ndevices = {[phone.serial for phone in phones]}\n'
        'preset = "fast"\nformats = ["pte"]\n',
        encoding="utf-8",
    )
    outcome = cli("campaign", "run", "eight.toml", timeout=300)

    assert outcome.exit_code == 0, outcome.stderr
    runs = campaigns.list_runs(campaigns.find("last").id)
    assert len(runs) == 8
    assert max(run.started_s for run in runs) < min(run.ended_s for run in runs)


@pytest.mark.soak
def test_six_networks_on_three_virtual_phones_unattended(cli, campaigns, tmp_path):
    """From one file to a page, without a terminal; they take turns, since they compute here."""
    for number in range(6):
        source = TINY_MODEL.replace("8, 4", f"8, {number + 4}")
        (cli.directory / f"net{number}.py").write_text(source, encoding="utf-8")
    models = [f"net{number}.py" for number in range(6)]
    devices = ["virtual:nexus7", "virtual:nexus5", "virtual:pixel8"]
    (cli.directory / "night.toml").write_text(
        f'models = {models}\ndevices = {devices}\npreset = "fast"\nenergy = "on-battery"\n',
        encoding="utf-8",
    )
    outcome = cli("campaign", "run", "night.toml", "--report", "report.html", timeout=1200)

    assert outcome.exit_code == 0, outcome.stderr
    runs = campaigns.list_runs(campaigns.find("last").id)
    assert len(runs) == 18
    in_turn = sorted(runs, key=lambda run: run.started_s)
    assert all(first.ended_s <= second.started_s for first, second in itertools.pairwise(in_turn))
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    axe = fetch_axe(tmp_path)
    with running_browser(tmp_path / "chromium") as browser:
        browser.size(1280, 900)
        for theme in ("light", "dark"):
            browser.theme(theme)
            browser.open(cli.directory / "report.html")
            (tmp_path / f"{theme}.png").write_bytes(browser.picture())
            assert browser.complaints == []
            assert browser.serious_findings(axe) == []
            rows = "document.querySelector('#measured table').tBodies[0].rows.length"
            assert browser.evaluate(rows) == 18


def test_ctrl_c_ends_the_run_and_a_resume_goes_on(cli, campaigns, slow_phone):
    """What was under way waits again, and the phone is free at once."""
    slow_phone.companion._pace_s = 0.3
    arguments = ("-d", slow_phone.serial, "--fast", "--no-energy", "--format", "pte")
    process = cli.start("deploy", *MODELS, *arguments)
    wait_until(lambda: slow_phone.companion.running_pids())
    process.send_signal(signal.SIGINT)

    assert process.wait(30) == 130
    assert "campaign resume" in process.communicate()[1]
    assert not slow_phone.companion.running_pids()

    assert cli("campaign", "resume").exit_code == 0
    assert campaigns.count_states(campaigns.find("last").id)["done"] == 2


def test_several_networks_and_devices_are_a_campaign(cli, tmp_path, store):
    """In one command; what is for one network alone is refused, and nothing given twice."""
    phones = [f"replay:{write_recording(tmp_path / name, measured())}" for name in ("a", "b")]
    devices = [word for phone in phones for word in ("--device", phone)]

    outcome = cli("deploy", *MODELS, *devices, "--fast", "--no-energy")
    assert outcome.exit_code == 0, outcome.stderr
    assert len(store.result_ids()) == 4

    assert "--weights is for one network" in cli("deploy", *MODELS, "--weights", "w.pt").stderr
    assert cli("deploy", "tiny.py", "-d", "pc", "-d", "pc").exit_code == 2


def test_without_its_packages_it_says_what_to_install(cli, write_campaign, tmp_path):
    """Before anything is stored."""
    (tmp_path / "without").mkdir()
    (tmp_path / "without/dbos.py").write_text("raise ImportError(name='dbos')", encoding="utf-8")
    path = os.pathsep.join([str(tmp_path / "without"), os.environ.get("PYTHONPATH", "")])

    outcome = cli("campaign", "run", write_campaign(phones=1), PYTHONPATH=path)

    assert outcome.exit_code == 2
    assert "pip install 'mobilekit[farm]'" in outcome.stderr


def test_a_device_that_is_not_there_is_told_before_anything_is_measured(cli):
    """As a deploy tells it."""
    (cli.directory / "none.toml").write_text(
        'models = ["tiny.py"]\ndevices = ["virtual:nexus9"]\n', encoding="utf-8"
    )

    outcome = cli("campaign", "run", "none.toml")

    assert outcome.exit_code == 2
    assert "nexus9" in outcome.stderr
    assert json.loads(cli("campaign", "list", "--json").stdout)["campaigns"] == []
