"""One run of a campaign: what a phone that leaves, a full disk and a host's end do to it."""

import errno

import pytest
from campaign_makers import make_campaign, make_plan
from examples import measured
from msgspec.structs import replace
from replaying import ReplayCompanion
from servers import FakeBattery
from tiny_model import TINY_MODEL

from mobilekit.campaign import child
from mobilekit.campaign.child import ChildOrder, LineReporter, carry_out
from mobilekit.contract.codec import decode
from mobilekit.contract.protocol import (
    INPUT_ROOT,
    OUTPUT_ROOT,
    RunRequest,
    RunSuccess,
    WaitStarted,
)
from mobilekit.errors import DamagedResultError, StoppedError, StoreError
from mobilekit.executor.open import RECONNECT_VARIABLE
from mobilekit.flow.collect import collect
from mobilekit.model.files import write_whole
from mobilekit.phone.profiles import load_profiles
from mobilekit.presets import REST_NS, UNPLUG_TIMEOUT_NS
from mobilekit.records.campaign import Gates
from mobilekit.results.campaign_rows import RunId
from mobilekit.results.campaigns import (
    Campaigns,
)
from mobilekit.results.store import Store
from mobilekit.virtual.faults import Faults

PACE_S = 0.15


@pytest.fixture
def place(tmp_path):
    """What a run asks of the store is tested on both databases beside this."""
    return f"sqlite:///{tmp_path / 'results.sqlite'}"


@pytest.fixture
def campaigns(place):
    opened = Campaigns(place)
    yield opened
    opened.close()


class WarmBattery(FakeBattery):
    """Of a phone that can be too hot."""

    temperature_decicelsius = 271

    def read(self):
        return replace(super().read(), temperature_decicelsius=self.temperature_decicelsius)


class CountingCompanion(ReplayCompanion):
    """Keeps which runs were started, and what of."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.started, self.requests = [], []

    def start(self, run_id):
        path = self._files.host_path(INPUT_ROOT) / "runs" / run_id / "request.json"
        self.started.append(run_id)
        self.requests.append(decode(path.read_bytes(), RunRequest, source="the request"))
        return super().start(run_id)


@pytest.fixture
def phone(make_phone, adb_server, monkeypatch, tmp_path):
    """Plays runs again; it is given up at once when it leaves."""
    for name, value in adb_server.settings.items():
        if name != "HOME":
            monkeypatch.setenv(name, value)
    monkeypatch.setenv(RECONNECT_VARIABLE, "0")
    directory = tmp_path / "phone"
    directory.mkdir()
    companion = CountingCompanion(directory, measured().result.samples, pace_s=PACE_S)
    return make_phone(
        profile=load_profiles()["nexus7"],
        directory=directory,
        battery=WarmBattery(),
        companion=companion,
    )


@pytest.fixture
def make_order(campaigns, phone, place, home, exports):
    """One run on the phone."""
    (home / "cache").mkdir(parents=True)
    (home / "cache/artifacts").symlink_to(exports, target_is_directory=True)
    (home / "tiny.py").write_text(TINY_MODEL, encoding="utf-8")
    campaign, (placed,) = make_campaign(make_plan(models=["m"], phones=["a"]))
    campaigns.add(campaign, [placed])

    def make(**gates):
        run = replace(
            placed.run,
            model=str(home / "tiny.py"),
            device=phone.serial,
            format="pte",
            preset="fast",
            gates=Gates(**gates),
        )
        return ChildOrder(
            campaign=campaign.id,
            placed=replace(placed, run=run),
            measured=str(home / "m.measured"),
            store=place,
        )

    return make


class Clock:
    """Passes while somebody waits; ``at`` says what happens at which wait."""

    def __init__(self, at=None):
        self.now_s, self.waits, self._at = 0.0, 0, at or {}

    def __call__(self):
        return self.now_s

    def sleep(self, duration_s):
        self.waits += 1
        self.now_s += duration_s
        self._at.get(self.waits, lambda: None)()


def unplug(phone):
    phone.call(phone.phone.set_faults(Faults(cable="unplugged")))


def plug_in(phone):
    phone.call(phone.phone.set_faults(Faults()))
    phone.server.adb("connect", phone.serial)
    phone.server.wait_for_state(phone.serial, "device")


def unplug_once_running(phone, said):
    def say(line):
        said.append(line)
        if line == "Running: timing inferences":
            unplug(phone)

    return say


def run_of(order):
    return RunId(order.campaign, order.placed.run.key, 1)


def finish(campaigns, order, outcome):
    """As its host does."""
    campaigns.take(run_of(order), "desk1/x")
    assert campaigns.finish(run_of(order), "desk1/x", outcome)


def lose(phone, order):
    """An attempt whose phone went away in the middle, and did not come back in time."""
    outcome = carry_out(order, unplug_once_running(phone, []), clock_s=Clock())
    assert outcome.state == "failed"
    return outcome


def test_a_phone_that_comes_back_late_is_not_asked_again(phone, make_order, campaigns, place):
    """The run that it finished by itself is the run's, and none is started beside it."""
    order, clock, said = make_order(patience_s=60), Clock({3: lambda: plug_in(phone)}), []

    outcome = carry_out(order, unplug_once_running(phone, said), sleep=clock.sleep, clock_s=clock)

    assert (outcome.state, outcome.detail) == ("done", "")
    (measurement,) = outcome.measurements
    assert [measurement.id] == phone.companion.started
    assert measurement.campaign == order.campaign
    assert "waits: the phone is away" in said
    assert clock.waits >= 3
    finish(campaigns, order, outcome)
    assert Store(place).result_ids() == [measurement.id]
    assert Store(place).list_pending() == []


def test_what_an_attempt_began_the_next_one_takes_up(phone, make_order, campaigns, place):
    """Another attempt, of whatever host, waits for the phone and follows the same run."""
    lose(phone, make_order(patience_s=0))
    order, clock = make_order(patience_s=60), Clock({4: lambda: plug_in(phone)})

    outcome = carry_out(order, print, sleep=clock.sleep, clock_s=clock)

    assert outcome.state == "done"
    assert [each.id for each in outcome.measurements] == phone.companion.started
    assert clock.waits >= 4
    finish(campaigns, order, outcome)
    assert Store(place).list_pending() == []


def test_a_phone_that_stays_away_leaves_its_run_to_be_collected(
    phone, make_order, campaigns, place
):
    """The run has failed, with what was heard of it; what the phone has replaces that later."""
    order = make_order(patience_s=10)
    clock = Clock()

    outcome = carry_out(order, unplug_once_running(phone, []), sleep=clock.sleep, clock_s=clock)

    assert (outcome.state, clock.now_s) == ("failed", 10)
    assert [each.result.code for each in outcome.measurements] == ["disconnected"]
    finish(campaigns, order, outcome)
    plug_in(phone)
    (collected,) = collect(Store(place), LineReporter(print), wait=True).collected
    assert collected == Store(place).read(phone.companion.started[0])
    assert collected.campaign == order.campaign


def test_what_an_attempt_could_not_take_up_stays_to_be_collected(
    phone, make_order, campaigns, place
):
    """As where the phone goes on by itself while its host is dead, and is away for longer than the
    next attempt waits: that fails without a result, and a resume takes up what was begun."""
    lose(phone, make_order(patience_s=0))
    clock = Clock()
    order = make_order(patience_s=2)

    failed = carry_out(order, print, sleep=clock.sleep, clock_s=clock)
    finish(campaigns, order, failed)
    pending = [each.measurement.id for each in Store(place).list_pending()]
    campaigns.requeue(order.campaign)
    plug_in(phone)
    resumed = carry_out(order, print)

    assert (failed.state, failed.measurements, clock.now_s) == ("failed", (), 2)
    assert pending == phone.companion.started
    assert resumed.state == "done"
    assert [each.id for each in resumed.measurements] == phone.companion.started
    campaigns.take(run_of(order)._replace(attempt=2), "desk1/x")
    assert campaigns.finish(run_of(order)._replace(attempt=2), "desk1/x", resumed)
    assert Store(place).list_pending() == []


def test_what_a_full_disk_left_on_its_phone_stays_to_be_collected(
    phone, make_order, campaigns, place, monkeypatch
):
    """Where there is no room for it for longer than the run waits."""

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(child, "write_whole", refuse)
    order, clock = make_order(patience_s=3), Clock()

    outcome = carry_out(order, print, sleep=clock.sleep, clock_s=clock)
    finish(campaigns, order, outcome)
    (collected,) = collect(Store(place), LineReporter(print), wait=True).collected

    assert (outcome.state, outcome.measurements) == ("failed", ())
    assert [collected.id] == phone.companion.started
    assert isinstance(collected.result, RunSuccess)


def test_what_the_phone_has_no_more_is_measured_anew(phone, make_order, campaigns, place):
    """As after its app was removed; nobody is told to collect the lost one, and ``collect`` tells a
    phone that has nothing of a run from one that is away."""
    lose(phone, make_order(patience_s=0))
    away = collect(Store(place), LineReporter(print), wait=False).waiting
    plug_in(phone)
    phone.companion.stop()
    phone.adb("shell", f"rm -rf {INPUT_ROOT}/runs {OUTPUT_ROOT}/runs")
    gone = collect(Store(place), LineReporter(print), wait=False).waiting
    order = make_order(patience_s=0)

    outcome = carry_out(order, print)

    assert [each.why for each in (*away, *gone)] == ["not attached", "not on its phone"]
    assert outcome.state == "done"
    assert [each.id for each in outcome.measurements] == phone.companion.started[1:]
    finish(campaigns, order, outcome)
    assert Store(place).list_pending() == []


def test_a_run_that_ended_with_its_host_is_measured_anew(phone, make_order):
    """The companion's process died while nobody followed it: there is no result of it."""
    lose(phone, make_order(patience_s=0))
    phone.companion.stop()
    plug_in(phone)

    outcome = carry_out(make_order(patience_s=0), print)

    assert outcome.state == "done"
    assert [each.id for each in outcome.measurements] == phone.companion.started[1:]


def test_what_a_person_has_collected_meanwhile_is_the_runs(phone, make_order, campaigns, place):
    """It is not measured again, and not stored twice."""
    lose(phone, make_order(patience_s=0))
    plug_in(phone)
    collect(Store(place), LineReporter(print), wait=True)
    order = make_order(patience_s=0)

    outcome = carry_out(order, print)

    assert [each.id for each in outcome.measurements] == phone.companion.started
    finish(campaigns, order, outcome)
    assert Store(place).result_ids() == phone.companion.started


def test_a_run_that_is_taken_up_can_be_stopped(phone, make_order, place):
    """It is stopped on the phone, and is not waiting to be collected."""
    lose(phone, make_order(patience_s=0))
    phone.companion._pace_s = 1.5
    plug_in(phone)

    def interrupt(line):
        if line == "Running: timing inferences":
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, StoppedError)):
        carry_out(make_order(patience_s=0), interrupt)

    assert phone.companion.running_pids() == []
    assert Store(place).list_pending() == []


def test_a_store_that_is_away_spends_no_patience(phone, make_order, campaigns, monkeypatch):
    """However long it is away: the phone still has all of its own afterwards."""
    unplug(phone)
    outage = iter([StoreError("It is away", fix="-")] * 30)

    def fetch(*_):
        error = next(outage, None)
        if error is not None:
            raise error

    monkeypatch.setattr(child, "fetch_artifact", fetch)
    said, clock = [], Clock({34: lambda: plug_in(phone)})

    outcome = carry_out(make_order(patience_s=10), said.append, sleep=clock.sleep, clock_s=clock)

    assert outcome.state == "done"
    assert said.count("waits: It is away") == 30
    assert clock.waits == 34


def test_a_damaged_document_is_not_waited_for(phone, make_order, monkeypatch):
    """It will not be another one."""

    def refuse(*_):
        raise DamagedResultError("It is damaged", document=b"", fix="-")

    monkeypatch.setattr(child, "fetch_artifact", refuse)
    clock = Clock()

    outcome = carry_out(make_order(), print, sleep=clock.sleep, clock_s=clock)

    assert (outcome.state, clock.waits) == ("failed", 0)
    assert "It is damaged" in outcome.detail


def test_a_full_disk_loses_nothing(phone, make_order, monkeypatch):
    """What was measured stays on its phone until there is room for it, and is kept before it is
    taken from there; a host that dies then has it."""
    fails = iter([OSError(errno.ENOSPC, "No space left on device")] * 2)
    on_phone = []

    def write(path, data):
        error = next(fails, None)
        on_phone.append(phone.adb("shell", f"ls {OUTPUT_ROOT}/runs").stdout.split())
        if error is not None:
            raise error
        write_whole(path, data)

    monkeypatch.setattr(child, "write_whole", write)
    said, clock = [], Clock()

    outcome = carry_out(make_order(), said.append, sleep=clock.sleep, clock_s=clock)
    again = carry_out(make_order(), said.append)

    assert (outcome.state, clock.waits) == ("done", 2)
    assert on_phone == [phone.companion.started] * 3
    assert len(phone.companion.started) == 1
    assert phone.adb("shell", f"ls {OUTPUT_ROOT}/runs").stdout == ""
    assert "waits: What was measured cannot be kept here: No space left on device" in said
    assert again == outcome


@pytest.mark.parametrize(
    ("gate", "spoil", "mend", "why"),
    [
        (
            {"max_temperature_decicelsius": 300},
            {"temperature_decicelsius": 301},
            {"temperature_decicelsius": 300},
            "its battery has 30.1 degC, and 30.0 are the most",
        ),
        (
            {"min_level_percent": 50},
            {"level_percent": 49},
            {"level_percent": 50},
            "its battery is 49 % full, and 50 % are the least",
        ),
    ],
)
def test_a_phone_is_waited_for_until_it_is_as_it_should_be(
    phone, make_order, gate, spoil, mend, why
):
    """And no longer than its patience; nothing is started on one that is not."""

    def set_battery(fields):
        for name, value in fields.items():
            setattr(phone.battery, name, value)

    set_battery(spoil)
    clock, said = Clock(), []
    given_up = carry_out(
        make_order(patience_s=7, **gate), said.append, sleep=clock.sleep, clock_s=clock
    )
    assert phone.companion.started == []
    clock = Clock({2: lambda: set_battery(mend)})
    order = make_order(patience_s=7, **gate)
    outcome = carry_out(order, said.append, sleep=clock.sleep, clock_s=clock)

    assert given_up.state == "failed"
    assert why in given_up.detail
    assert f"waits: {why}" in said
    assert (outcome.state, clock.waits) == ("done", 2)


@pytest.mark.parametrize("energy", ["unplug", "on-battery", "none"])
def test_a_phone_on_its_cable_is_asked_off_it_where_energy_needs_it(phone, make_order, energy):
    """With ``unplug`` its run waits for that, and says so; else it is measured without energy."""
    order = make_order()
    order = replace(
        order, placed=replace(order.placed, run=replace(order.placed.run, energy=energy))
    )

    def end_once_running(_):
        if phone.companion.requests:
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, StoppedError)):
        carry_out(order, end_once_running)
    told = []
    LineReporter(told.append).event(WaitStarted(reason="unplug", at_ns=0))

    (request,) = phone.companion.requests
    waits_ns = request.energy and (request.energy.unplug_timeout_ns, request.energy.rest_ns)
    assert waits_ns == ((UNPLUG_TIMEOUT_NS, REST_NS) if energy == "unplug" else None)
    assert told[0].startswith("waits: Pull the cable now")
