"""A lab: agents that lend their phones through a PostgreSQL, and campaigns on them."""

import os
import shutil
import signal
import time

import pytest
import sqlalchemy as sa
from examples import measured
from recordings import write_recording
from schemas import check_document
from tiny_model import TINY_MODEL

from mobilekit.results.campaigns import Campaigns
from mobilekit.results.store import Store

pytest.importorskip("dbos")
END_S = 10
"""An agent ends within a few seconds; the computer may do other things."""


@pytest.fixture
def url(postgres, request):
    name = f"lab_{os.getpid()}_{abs(hash(request.node.name)) % 10**8}"
    postgres.execute(f"CREATE DATABASE {name}")
    return postgres.url(name)


@pytest.fixture
def cli(cli, url, tmp_path):
    """The computer of who plans, with a home of its own."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "cache").symlink_to(f"{cli.environment['MOBILEKIT_HOME']}/cache")
    cli.environment.update({"MOBILEKIT_HOME": str(home), "MOBILEKIT_STORE": url})
    return cli


@pytest.fixture
def campaigns(url):
    opened = Campaigns(url)
    yield opened
    opened.close()


@pytest.fixture
def start_agent(cli, campaigns, tmp_path):
    """Starts one with a home and a cache of its own, and returns when it has joined."""
    started = []

    def start(name, *options, home=None):
        process = cli.start(
            "agent",
            *("--join", cli.environment["MOBILEKIT_STORE"], "--name", name),
            *options,
            MOBILEKIT_HOME=str(home or tmp_path / f"home-{name}"),
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        process.communicate(timeout=60)


def wait_until(condition, timeout_s=60):
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it does not come about"
        time.sleep(0.05)


def names_of(campaigns):
    return [agent.info.name for agent in campaigns.list_agents() if agent.is_alive]


def suspend(processes, url):
    """Where they hold nothing that who plans would wait for until they count as gone: after their
    start, in which they make the engine's tables under a lock, and while they write nothing. (One
    of them always has a transaction open, which does the engine's jobs and changes no row.)"""
    for process in processes:
        while "lends its phones" not in process.stderr.readline():
            assert process.poll() is None
    engine = sa.create_engine(url)
    under_way = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()"
    )
    while True:
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        with engine.connect() as connection:
            if not connection.execute(under_way).scalar_one():
                break
        for process in processes:
            process.send_signal(signal.SIGCONT)
        time.sleep(0.1)
    engine.dispose()


def test_a_host_without_the_model_measures_it(cli, campaigns, start_agent, tmp_path, url):
    """The network reaches it through the store, exported once where the campaign was begun."""
    phones = {name: f"replay:{write_recording(tmp_path / name, measured())}" for name in ("a", "b")}
    agents = {name: start_agent(f"desk-{name}", "--lend", phones[name]) for name in phones}
    # They do nothing until the model is gone.
    suspend(agents.values(), url)
    models = tmp_path / "models"
    models.mkdir()
    # No other test has exported this one into the cache that all share.
    source = f"{TINY_MODEL}\n# For hosts that do not have it.\n"
    (models / "tiny.py").write_text(source, encoding="utf-8")
    (models / "night.toml").write_text(
        f'models = ["tiny.py"]\ndevices = {list(phones.values())}\nrepeats = 2\npreset = "fast"\n',
        encoding="utf-8",
    )
    planned = cli("campaign", "run", models / "night.toml", "--detach")
    assert planned.exit_code == 0, planned.stderr
    assert planned.stderr.count("Exporting") == 1
    shutil.rmtree(models)
    for process in agents.values():
        process.send_signal(signal.SIGCONT)

    following = cli.start("campaign", "resume", "--json")
    stdout, stderr = following.communicate(timeout=120)

    assert following.returncode == 0, stderr
    whole = check_document(stdout.splitlines()[-1])
    assert {run["host"] for run in whole["runs"]} == {"desk-a", "desk-b"}
    assert whole["counts"] == {"done": 4}
    assert len(Store(url).result_ids()) == 4
    hosts = cli("hosts").stdout
    assert "desk-a" in hosts
    assert "alive" in hosts
    listed = cli("devices", "--all", "--json").document["hosts"]
    assert [offer["device"] for host in listed for offer in host["info"]["offers"]] == list(
        phones.values()
    )


def test_a_name_is_taken_once(cli, campaigns, start_agent, tmp_path):
    """On the same computer and elsewhere; after its end it is free again."""
    first = start_agent("desk1")
    wait_until(lambda: names_of(campaigns) == ["desk1"])
    same, elsewhere = start_agent("desk1"), start_agent("desk1", home=tmp_path / "other")

    for refused in (same, elsewhere):
        _, said = refused.communicate(timeout=60)
        assert refused.returncode == 3
        assert "Another mobilekit carries out campaigns under this name (host: desk1" in said

    first.terminate()
    assert first.wait(END_S) == 143
    assert campaigns.list_agents() == []
    again = start_agent("desk1", home=tmp_path / "other")
    wait_until(lambda: names_of(campaigns) == ["desk1"])
    again.send_signal(signal.SIGINT)
    assert again.wait(END_S) == 130


def test_a_dead_hosts_work_is_moved(cli, campaigns, start_agent, tmp_path, url):
    """By command, to one that lends the same; the follower told of the silence."""
    phone = f"replay:{write_recording(tmp_path / 'a', measured())}"
    first = start_agent("desk1", "--lend", phone)
    suspend([first], url)
    (tmp_path / "tiny.py").write_text(TINY_MODEL, encoding="utf-8")
    (tmp_path / "night.toml").write_text(
        f'models = ["tiny.py"]\ndevices = ["desk1/{phone}"]\nrepeats = 2\n', encoding="utf-8"
    )
    planned = cli("campaign", "run", tmp_path / "night.toml", "--detach")
    assert planned.exit_code == 0, planned.stderr
    first.kill()
    first.wait(10)
    nobody = cli("campaign", "move", "--from", "desk1")
    assert nobody.exit_code == 3
    assert "No live host offers a phone of desk1's work" in nobody.stderr

    start_agent("desk2", "--lend", phone)
    wait_until(lambda: "desk2" in names_of(campaigns))
    moved = cli("campaign", "move", "--from", "desk1")

    assert moved.exit_code == 0, moved.stderr
    assert "2 runs of desk1 go to desk2" in moved.stdout
    assert cli("campaign", "resume").exit_code == 0
    runs = campaigns.list_runs(campaigns.find("last").id)
    assert {(run.state, run.host, run.attempt) for run in runs} == {("done", "desk2", 2)}


def test_another_adb_server_is_taken_by_its_address(cli, bench_phone):
    """One that is reached under a name of its own, and one that is not there."""
    port = cli.environment.pop("ANDROID_ADB_SERVER_PORT")

    listed = cli("--adb", f"localhost:{port}", "devices", "--json").document["devices"]
    by_variable = cli(
        "devices",
        "--json",
        ANDROID_ADB_SERVER_ADDRESS="localhost",
        ANDROID_ADB_SERVER_PORT=port,
    ).document["devices"]
    away = cli("--adb", "127.0.0.2:1", "devices")
    wrong = cli("--adb", "desk2:port", "devices")

    assert bench_phone.serial in [each["attached"]["serial"] for each in listed]
    assert [each["attached"] for each in by_variable] == [each["attached"] for each in listed]
    assert (away.exit_code, wrong.exit_code) == (3, 2)
    assert "No adb server answers there (host: 127.0.0.2, port: 1)" in away.stderr
    assert "HOST:PORT" in wrong.stderr
