"""Following runs: how long a companion may be silent, what Ctrl-C does, and queues."""

from contextlib import nullcontext
from itertools import cycle

import pytest
from examples import MS, PHASES, energy_plan, run_request, samples

from mobilekit.contract.checks import decode_events, encode_event
from mobilekit.contract.codec import encode
from mobilekit.contract.protocol import (
    MAX_FILE_BYTES,
    PROTOCOL_VERSION,
    Candidate,
    Evaluation,
    IterationsMeasured,
    LoadMeasured,
    MethodChoice,
    MethodTrial,
    PhaseStart,
    PhaseStarted,
    RunSuccess,
    RunTaken,
    TensorFile,
)
from mobilekit.errors import AppError, DisconnectedError, PhoneError, TimedOutError
from mobilekit.executor.base import Listener
from mobilekit.executor.phone import SILENT, PhoneExecutor
from mobilekit.executor.watch import UNPLANNED_STEP_S, Patience, longest_run_s
from mobilekit.hashing import bytes_md5
from mobilekit.phone.adb import (
    ShellResult,
)
from mobilekit.phone.runs import fetch, is_running, read_state, start_runs

NS_PER_S = 10**9
NO_SUCH_COMMAND = ShellResult(b"", b"", 127)


EVALUATING = (
    IterationsMeasured(latency_ns=(NS_PER_S // 20,) * 30),
    PhaseStarted(phase="evaluate", at_ns=0),
)


class BusyPhone:
    """Tells of 50 ms for an iteration, and has its result 900 s later without a word between."""

    serial = "busy"

    def __init__(self, request, events=EVALUATING):
        self.now_s = 0.0
        self._request = request
        self._events = [RunTaken(pid=7), *events]

    def sleep(self, duration_s):
        self.now_s += duration_s

    def shell(self, command, check=True, limit_bytes=None):
        if command.startswith("md5sum"):
            return NO_SUCH_COMMAND
        if command.startswith("pidof"):
            return ShellResult(b"7\n", b"", 0)
        if command.startswith("cat"):
            return ShellResult(encode(self._result()), b"", 0)
        said = b"".join(encode_event(event) for event in self._events)
        if "tail" in command:
            self._events = []
        over = b"over\n" if self.now_s > 900 else b""
        return ShellResult(over + said, b"", 0)

    def _result(self):
        asked = {}
        if self._request.evaluation is not None:
            examples = self._request.evaluation.shape[0]
            outputs = TensorFile(sha256="e" * 64, dtype="float32", shape=(examples, 1, 10))
            asked["phases"] = (*PHASES, PhaseStart(phase="evaluate", at_ns=5 * NS_PER_S))
            asked["evaluation"] = Evaluation(outputs=outputs, latency_ns=(MS,) * examples)
        if self._request.choice is not None:
            choice = self._request.choice
            asked["phases"] = (PHASES[0], PhaseStart(phase="choose", at_ns=0), *PHASES[1:])
            asked["trials"] = tuple(
                MethodTrial(
                    method=each.method, load_ns=MS, latency_ns=(NS_PER_S // 5,) * choice.iterations
                )
                for each in choice.candidates
            )
        return RunSuccess(
            protocol_version=PROTOCOL_VERSION,
            run_id=self._request.run_id,
            samples=samples(**asked),
        )


def executor_of(phone, *, reconnect=None, sleep=None, clock_ns=lambda: 0):
    return PhoneExecutor(
        phone,
        reconnect or (lambda: phone),
        Patience(),
        sleep=sleep or phone.sleep,
        clock_ns=clock_ns,
    )


def clock_of(phone):
    return lambda: int(phone.now_s * NS_PER_S)


def follow_or_stop(executor, request, listener=SILENT):
    """As whoever presses Ctrl-C has it."""
    try:
        return executor.follow(request, listener)
    except KeyboardInterrupt:
        return executor.stop(request)


def follow(request, events=EVALUATING):
    phone = BusyPhone(request, events)
    return executor_of(phone, clock_ns=clock_of(phone)).follow(request, SILENT)


def test_many_examples_may_take_their_time():
    """10,000 of 50 ms take 500 s at least, and input and output come on top."""
    examples = TensorFile(sha256="d" * 64, dtype="float32", shape=(10_000, 1, 3, 224, 224))

    assert isinstance(follow(run_request(evaluation=examples)), RunSuccess)


def choosing(iterations, levels=1):
    outputs = run_request().reference_outputs
    candidates = tuple(
        Candidate(method=f"level_{number}", reference_outputs=outputs)
        for number in range(levels, 0, -1)
    )
    return run_request(
        choice=MethodChoice(budget_ns=MS // 2, iterations=iterations, candidates=candidates)
    )


def test_a_slow_level_may_be_tried_to_its_end():
    """1,000 inferences of 200 ms and more are told of when the last one is over."""
    began = (PhaseStarted(phase="choose", at_ns=0),)

    assert isinstance(follow(choosing(1000), began), RunSuccess)


@pytest.mark.parametrize("phase", ["verify", "load"])
def test_a_run_that_is_to_choose_may_not_be_silent_for_long_elsewhere(phase):
    result = follow(choosing(1000), (PhaseStarted(phase=phase, at_ns=0),))

    assert "silent" in result.message


def test_a_run_that_tries_levels_has_their_time():
    """As the companion gives itself: each is warmed up, and then runs so many times."""
    alone, several = run_request(), choosing(30, levels=4)
    warmup_s = alone.warmup.max_duration_ns / NS_PER_S

    assert longest_run_s(several) - longest_run_s(alone) == 4 * (warmup_s + 30 * UNPLANNED_STEP_S)


def test_a_silent_companion_is_given_up():
    """Without examples nothing takes as long."""
    result = follow(run_request())

    assert result.code == "interrupted"
    assert "silent" in result.message


# --- Ctrl-C, and links that break ----------------------------------------------------------------


class WritingPhone:
    """Has written ``progress``, of which a host heard half before somebody pressed Ctrl-C."""

    serial = "writing"

    def __init__(self, progress, *, gone=False):
        self._progress, self._gone = progress, gone
        self._interrupted = False
        self.stopped = False

    def sleep(self, _duration_s):
        self._interrupted = True
        raise KeyboardInterrupt

    def shell(self, command, check=True, limit_bytes=None):
        if command.startswith("md5sum"):
            return NO_SUCH_COMMAND
        if self._gone and self._interrupted:
            raise DisconnectedError("The phone is gone", fix="Plug it in.")
        if "force-stop" in command:
            self.stopped = True
        if "pidof" in command:
            return ShellResult(b"", b"", 1)
        if "tail" not in command:
            return ShellResult(b"", b"", 0)
        lines = self._progress.splitlines(keepends=True)
        heard = lines if self._interrupted else lines[: len(lines) // 2]
        return ShellResult(b"".join(heard), b"", 0)


class AbsentPhone:
    """Was unplugged; ``at`` names the call at which somebody presses Ctrl-C."""

    serial = "absent"

    def __init__(self, at):
        self._at = at

    def shell(self, command, check=True, limit_bytes=None):
        raise DisconnectedError("The phone is gone", fix="Plug it in.")

    def call(self, name):
        if name == self._at:
            raise KeyboardInterrupt


class LeavingPhone:
    """Leaves when the app is started, as if somebody pulled the cable."""

    serial = "leaving"

    def shell(self, command, check=True, limit_bytes=None):
        if command.startswith("am start"):
            raise DisconnectedError("The phone is gone", fix="Plug it in.")
        return ShellResult(b"", b"", 0)

    def push(self, source, target, *, on_bytes):
        pass


class LateStartPhone(LeavingPhone):
    """... and is back at once, without having heard of it."""

    def __init__(self):
        self.now_s = 0.0

    def sleep(self, duration_s):
        self.now_s += duration_s


class DeafToTheSecond(LateStartPhone):
    """... having heard of it all the same; it has carried out `run-0`, and takes no other."""

    def shell(self, command, check=True, limit_bytes=None):
        if command.startswith("md5sum"):
            return NO_SUCH_COMMAND
        if "/run-0/" not in command or "rm -rf" in command:
            return super().shell(command, check, limit_bytes)
        if command.startswith("cat"):
            result = RunSuccess(
                protocol_version=PROTOCOL_VERSION, run_id="run-0", samples=samples()
            )
            return ShellResult(encode(result), b"", 0)
        return ShellResult(b"over\n", b"", 0)


TAKEN = encode_event(RunTaken(pid=7))
BEGUN = encode_event(PhaseStarted(phase="verify", at_ns=0))
PROGRESS = (
    TAKEN
    + encode_event(PhaseStarted(phase="energy", at_ns=0))
    + encode_event(IterationsMeasured(latency_ns=(1, 2)))
)


def test_ctrl_c_keeps_what_was_written_since_the_last_look():
    """The run is stopped, and its progress is read to the end before it is given back."""
    phone = WritingPhone(PROGRESS)

    result = follow_or_stop(executor_of(phone), run_request())

    assert phone.stopped
    assert result.code == "stopped"
    assert result.samples.iteration_ns == (1, 2)


def test_ctrl_c_before_the_cable_is_noticed_to_be_out():
    """What cannot be stopped goes on: the run is lost for now, not over."""
    phone = WritingPhone(PROGRESS, gone=True)

    result = follow_or_stop(executor_of(phone), run_request())

    assert not phone.stopped
    assert result.code == "disconnected"


@pytest.mark.parametrize("at", ["on_lost", "sleep", "reconnect"])
def test_ctrl_c_whenever_the_cable_is_out(at):
    """Nothing that is done meanwhile ends the command without a result."""
    phone = AbsentPhone(at)

    def reconnect():
        phone.call("reconnect")
        return phone

    listener = SILENT._replace(on_lost=lambda: phone.call("on_lost"))
    executor = executor_of(
        phone, reconnect=reconnect, sleep=lambda _duration_s: phone.call("sleep")
    )

    result = follow_or_stop(executor, run_request(), listener)

    assert result.code == "disconnected"


# --- limits that hold whatever the phone does -----------------------------------------------------


class EvasivePhone:
    """Answers everything; what it tells of the run, ``tell`` decides, or does not."""

    serial = "evasive"

    def __init__(self, tell):
        self.now_s, self.told, self.asked = 0.0, [], 0
        self._tell = tell

    def sleep(self, duration_s):
        self.now_s += duration_s

    def shell(self, command, check=True, limit_bytes=None):
        if command.startswith("md5sum"):
            return NO_SUCH_COMMAND
        if command.startswith("pidof"):
            return ShellResult(b"7\n", b"", 0)
        if "tail" not in command:
            return ShellResult(b"", b"", 0)
        self.asked += 1
        return ShellResult(self._tell(self), b"", 0)

    def follow(self, **fields):
        listener = Listener(
            on_event=self.told.append,
            on_lost=lambda: self.told.append("lost"),
            on_back=lambda: self.told.append("back"),
        )
        executor = executor_of(self, clock_ns=clock_of(self))
        return executor.follow(run_request(**fields), listener)


def hangs(phone):
    phone.now_s += 20
    raise TimedOutError("The phone did not answer in time", fix="Check the cable.")


def breaks_off(phone):
    raise DisconnectedError("5 bytes are missing", fix="Check the cable.")


def test_a_phone_that_answers_everything_but_of_the_run():
    """The limit of silence does not begin anew with each link: the run ends, once, as lost."""
    phone = EvasivePhone(hangs)

    result = phone.follow()

    assert phone.now_s < 260
    assert result.code == "disconnected"
    assert "the phone is there, but has told nothing of the run" in result.message
    assert phone.told == ["lost"]


def test_a_phone_that_is_meant_to_be_away_has_its_absence_left_out():
    """A run without a cable comes back after hours, and only then its silence counts."""
    answers = iter([TAKEN + BEGUN, None, None])
    absences = iter([3600.0, None, 7200.0, None, None])

    def tell(phone):
        answer = next(answers, b"")
        return hangs(phone) if answer is None else answer

    phone = EvasivePhone(tell)

    def reconnect():
        absence_s = next(absences)
        if absence_s is None:
            return phone
        phone.now_s += absence_s
        raise DisconnectedError("The phone is gone", fix="Plug it in again.")

    plan = energy_plan(unplug_timeout_ns=60 * NS_PER_S)
    executor = executor_of(phone, reconnect=reconnect, clock_ns=clock_of(phone))
    result = executor.follow(run_request(energy=plan), SILENT)

    assert result.code == "interrupted"
    assert "silent" in result.message
    assert 3600 + 7200 + 220 < phone.now_s < 3600 + 7200 + 400


def test_a_phone_that_was_never_away_has_nothing_left_out():
    """It answers too late each time, and it can be reached at once all the same."""
    phone = EvasivePhone(hangs)
    plan = energy_plan(unplug_timeout_ns=60 * NS_PER_S)
    executor = executor_of(phone, clock_ns=clock_of(phone))

    result = executor.follow(run_request(energy=plan), SILENT)

    assert result.code == "disconnected"
    assert "the phone is there, but has told nothing of the run" in result.message
    assert phone.now_s < 400


def test_a_phone_whose_every_answer_breaks_off():
    """It is there each time: it has as long as one that is away, not that of a silent run."""
    phone = EvasivePhone(breaks_off)

    result = phone.follow()

    assert result.code == "disconnected"
    assert "each of its answers breaks off: 5 bytes are missing" in result.message
    assert phone.now_s < 20
    assert phone.told == ["lost"]


def test_answers_that_break_off_now_and_then():
    """Those before a whole one no longer count."""
    answers = iter([*[None] * 7, TAKEN + BEGUN] + [*[None] * 7, b""] * 3)

    def tell(phone):
        answer = next(answers, b"")
        return breaks_off(phone) if answer is None else answer

    phone = EvasivePhone(tell)

    result = phone.follow()

    assert "silent" in result.message
    assert phone.asked > 4 * 8


def test_answers_that_break_off_because_the_phone_goes():
    """One that is gone each time does not garble; its silence counts."""
    phone = EvasivePhone(breaks_off)
    is_gone = cycle([True, False])

    def reconnect():
        if next(is_gone):
            raise DisconnectedError("The phone is gone", fix="Plug it in again.")
        return phone

    executor = executor_of(phone, reconnect=reconnect, clock_ns=clock_of(phone))
    result = executor.follow(run_request(), SILENT)

    assert "has told nothing of the run" in result.message
    assert phone.asked > 8


def test_a_companion_that_only_keeps_talking():
    """An event a minute is no silence, but a run has an end."""
    chatter = iter([TAKEN + BEGUN])

    def tell(phone):
        phone.now_s += 60
        return next(chatter, encode_event(LoadMeasured(load_ns=1)))

    phone = EvasivePhone(tell)

    result = phone.follow()

    assert result.code == "interrupted"
    assert "not over after" in result.message
    assert phone.now_s < 2 * 3600


def test_a_line_without_an_end_is_read_once():
    """What has come of it is not asked for again, and there is a most that is taken of it."""
    chunk = b"[" * (MAX_FILE_BYTES // 4)
    asked = []

    class Endless(EvasivePhone):
        def shell(self, command, check=True, limit_bytes=None):
            if "tail" in command:
                asked.append(int(command.partition("tail -c +")[2].split()[0]))
            return super().shell(command, check, limit_bytes)

    result = Endless(lambda _phone: chunk).follow()

    assert asked == [1 + number * len(chunk) for number in range(5)]
    assert result.code == "disconnected"
    assert "longer than" in result.message


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_that_comes_in_parts(cut):
    """Wherever a look at the progress ends, and however many looks a line takes."""
    parts = iter([PROGRESS[:cut], PROGRESS[cut : cut + 1], PROGRESS[cut + 1 :]])
    phone = EvasivePhone(lambda _phone: next(parts, b""))

    result = phone.follow()

    assert result.samples.iteration_ns == (1, 2)


def test_ctrl_c_when_the_phone_is_back():
    """It answers again, so that its run can be stopped."""
    answers = iter([None])

    def tell(phone):
        return hangs(phone) if next(answers, b"") is None else PROGRESS

    def interrupt():
        raise KeyboardInterrupt

    phone = EvasivePhone(tell)

    result = follow_or_stop(executor_of(phone), run_request(), SILENT._replace(on_back=interrupt))

    assert result.code == "stopped"
    assert result.samples.iteration_ns == (1, 2)


class UnpluggedPhone(BusyPhone):
    """Is unplugged at the first call that has ``word`` in it, after ``works_s`` seconds; it comes
    back after ``away_s`` more."""

    def __init__(self, request, word, *, works_s=0.0, away_s=float("inf")):
        super().__init__(request)
        self.left_s, self.gave_up_s = None, None
        self._word, self._works_s, self._away_s = word, works_s, away_s

    def _call(self, words):
        if self.left_s is None and self._word in words and self.now_s >= self._works_s:
            self.left_s = self.now_s
        if self.left_s is not None and self.now_s < self.left_s + self._away_s:
            raise DisconnectedError("The phone is gone", fix="Plug it in again.")

    def shell(self, command, check=True, limit_bytes=None):
        self._call(command)
        if command.startswith("md5sum") and "trace" in command:
            return ShellResult(f"{bytes_md5(b'whole')}  trace.bin\n".encode(), b"", 0)
        return super().shell(command, check, limit_bytes)

    def push(self, source, target, *, on_bytes):
        self._call(f"push {source}")

    def pull(self, source, target, *, limit_bytes):
        self._call(f"pull {source}")
        target.write_bytes(b"whole")

    def reconnect(self):
        self._call("reconnect")
        return self

    def executor(self, reconnect_s=5.0):
        patience = Patience(reconnect_s=reconnect_s)
        return PhoneExecutor(
            self, self.reconnect, patience, sleep=self.sleep, clock_ns=clock_of(self)
        )

    def away_s(self):
        return self.now_s - self.left_s


LONG_RUN = {"max_duration_ns": 1000 * NS_PER_S}
"""Of one that may be silent until its result is there."""


@pytest.mark.parametrize("reconnect_s", [0.0, 3.0, 5.0, 15.0])
@pytest.mark.parametrize("word", ["tail", "pidof", "cat", "md5sum"])
def test_a_phone_that_stays_away_is_waited_for_whatever_it_was_asked(word, reconnect_s):
    """For as long as is said, and at most a question's time longer."""
    request = run_request(**LONG_RUN)
    phone = UnpluggedPhone(request, word, works_s=10)

    result = phone.executor(reconnect_s).follow(request, SILENT)

    assert (result.code, result.message) == ("disconnected", "The phone is gone")
    assert reconnect_s <= phone.away_s() <= reconnect_s + Patience().longest_poll_s


@pytest.mark.parametrize("word", ["tail", "pidof", "cat", "md5sum"])
def test_a_phone_that_comes_back_in_time_is_followed_on_whatever_it_was_asked(word):
    request = run_request(**LONG_RUN)
    phone = UnpluggedPhone(request, word, works_s=10, away_s=4.5)

    assert isinstance(phone.executor().follow(request, SILENT), RunSuccess)


@pytest.mark.parametrize("word", ["pull", "md5sum"])
def test_a_file_whose_phone_leaves_is_waited_for(word, tmp_path):
    """As long as a run is, and no longer."""
    target = tmp_path / "trace"
    back = UnpluggedPhone(run_request(), word, away_s=4.5)
    gone = UnpluggedPhone(run_request(), word)

    back.executor().fetch("run-1", "trace.bin", target, limit_bytes=100)
    assert target.read_bytes() == b"whole"
    with pytest.raises(DisconnectedError):
        gone.executor().fetch("run-1", "trace.bin", target, limit_bytes=100)
    assert 5 <= gone.away_s() <= 5 + Patience().longest_poll_s
    assert [file.name for file in tmp_path.iterdir()] == ["trace"]


def test_a_file_that_breaks_off_whenever_it_is_asked_for_is_given_up(tmp_path):
    """The time begins with the first break, and no return has it begin anew."""
    phone = UnpluggedPhone(run_request(), "pull", away_s=0.0)
    asked = []

    def pull(source, target, *, limit_bytes):
        asked.append(phone.now_s)
        phone.now_s += 3
        raise DisconnectedError("5 bytes are missing", fix="Check the cable.")

    phone.pull = pull

    with pytest.raises(DisconnectedError, match="5 bytes"):
        phone.executor().fetch("run-1", "trace.bin", tmp_path / "trace", limit_bytes=100)
    assert asked == [0, 5]


@pytest.mark.parametrize(
    ("word", "ask"),
    [
        ("reconnect", lambda executor, request: executor.start([request])),
        ("mkdir", lambda executor, request: executor.start([request])),
        ("push", lambda executor, request: executor.start([request])),
        ("rm -rf", lambda executor, request: executor.clean(request.run_id, ())),
    ],
)
def test_what_needs_no_phone_back_ends_at_once(word, ask):
    """Before a run is started nothing is lost, and after it is stored neither."""
    phone = UnpluggedPhone(run_request(), word)

    with pytest.raises(DisconnectedError):
        ask(phone.executor(), run_request())
    assert phone.away_s() == 0


def test_a_link_that_breaks_while_the_app_is_started(tmp_path):
    """The run may have begun, so following it is what tells."""
    assert start_runs(LeavingPhone(), [run_request()], tmp_path).what == "The phone is gone"


def test_a_run_that_was_not_started_because_the_link_broke():
    """Who waited for it in vain is told what happened."""
    phone = LateStartPhone()
    executor = executor_of(phone, clock_ns=clock_of(phone))
    executor.start([run_request()])

    with pytest.raises(
        AppError, match=r"did not start the run: the link broke.*: The phone is gone"
    ):
        executor.follow(run_request(), SILENT)


def test_a_broken_start_that_arrived_is_not_blamed_for_a_later_run():
    """One start is of several runs: who took the first of them has heard of it."""
    phone = DeafToTheSecond()
    executor = executor_of(phone, clock_ns=clock_of(phone))
    first, second = run_request(run_id="run-0"), run_request(run_id="run-1")
    executor.start([first, second])

    assert isinstance(executor.follow(first, SILENT), RunSuccess)
    with pytest.raises(AppError) as caught:
        executor.follow(second, SILENT)

    assert caught.value.what == "The companion app did not start the run"


def test_progress_that_is_none():
    """One run that cannot be read is a failure of its own, not of all that are collected."""
    phone = WritingPhone(PROGRESS + b'{"type":"unheard of"}\n')
    phone._interrupted = True

    result = executor_of(phone).look(run_request(), SILENT.on_event).result

    assert result.code == "internal"


class NoisyPhone(WritingPhone):
    """Its answers about processes are garbled on their way."""

    def shell(self, command, check=True, limit_bytes=None):
        if "pidof" in command:
            return ShellResult(b"\x8f\x02 7", b"", 0)
        return super().shell(command, check, limit_bytes)


def test_processes_that_cannot_be_told_do_not_end_a_run():
    """What a phone garbles is not read as the end of its run, whose files would be deleted."""
    phone = NoisyPhone(PROGRESS)

    with pytest.raises(PhoneError, match="which processes"):
        is_running(phone)
    phone._interrupted = True
    result = executor_of(phone).look(run_request(), SILENT.on_event).result
    assert result.code == "disconnected"


# --- queues ---------------------------------------------------------------------------------------


class QueuePhone:
    """Holds the progress of several runs; ``pids`` are of the companion's processes."""

    serial = "queue"

    def __init__(self, progress, *, over=(), pids=(7,)):
        self.progress, self.over, self.pids = dict(progress), set(over), pids
        self.now_s = 0.0
        self.commands, self.pushed = [], []
        self.crashes = b""

    def sleep(self, duration_s):
        self.now_s += duration_s

    def push(self, source, target, *, on_bytes):
        self.pushed.append(target)

    def shell(self, command, check=True, limit_bytes=None):
        if command.startswith("md5sum"):
            return NO_SUCH_COMMAND
        self.commands.append(command)
        if command.startswith("pidof"):
            return ShellResult(" ".join(map(str, self.pids)).encode(), b"", int(not self.pids))
        if command.startswith("logcat -d -b crash"):
            return ShellResult(self.crashes, b"", 0)
        if command.startswith("ls"):
            return ShellResult("\n".join(self.progress).encode(), b"", 0)
        run_id = next((each for each in self.progress if f"/{each}/" in command), None)
        if run_id is None:
            return ShellResult(b"", b"", 0)
        if command.startswith("cat"):
            result = RunSuccess(protocol_version=PROTOCOL_VERSION, run_id=run_id, samples=samples())
            return ShellResult(encode(result), b"", 0)
        data = self.progress[run_id]
        if "head -n 2" in command:
            data = b"".join(data.splitlines(keepends=True)[:2])
        else:
            data = data[int(command.partition("tail -c +")[2].split()[0]) - 1 :]
        return ShellResult((b"over\n" if run_id in self.over else b"") + data, b"", 0)

    def executor(self, sleep=None):
        return executor_of(self, sleep=sleep, clock_ns=clock_of(self))


@pytest.mark.parametrize(
    ("progress", "pids", "state"),
    [
        pytest.param(TAKEN + BEGUN, (7,), "running", id="begun"),
        pytest.param(TAKEN + BEGUN, (6, 7), "running", id="one-of-two-processes"),
        pytest.param(TAKEN + BEGUN, (), "dead", id="no-process"),
        pytest.param(TAKEN + BEGUN, (8, 77), "dead", id="other-processes"),
        pytest.param(TAKEN + BEGUN[:-1], (7,), "waiting", id="cut-off"),
        pytest.param(TAKEN, (7,), "waiting", id="taken"),
        pytest.param(TAKEN, (8,), "dropped", id="taken-by-a-dead-process"),
        pytest.param(b"", (8,), "waiting", id="perhaps-about-to-be-taken"),
        pytest.param(b"", (), "dropped", id="never-taken"),
        pytest.param(b"{}\n", (7,), "dead", id="no-message"),
    ],
)
def test_what_became_of_a_run(progress, pids, state):
    """A run lives with the process that took it, whatever other process the app has."""
    phone = QueuePhone({"run-1": progress, "run-2": b""}, over=["run-2"], pids=pids)

    assert read_state(phone, "run-1") == state
    assert read_state(phone, "run-2") == "over"


class HastyPhone(QueuePhone):
    """Its run is carried out, and its process gone, between any two questions."""

    def shell(self, command, check=True, limit_bytes=None):
        answer = super().shell(command, check, limit_bytes)
        self.progress, self.over, self.pids = {"run-1": TAKEN + BEGUN}, {"run-1"}, ()
        return answer


@pytest.mark.parametrize("progress", [b"", TAKEN, TAKEN + BEGUN])
def test_a_run_that_ends_between_two_questions_was_not_lost(progress):
    """Taken for dead or dropped, it would be deleted, or started anew in place of its result."""
    phone = HastyPhone({"run-1": progress})

    assert read_state(phone, "run-1") not in ("dead", "dropped")
    phone.executor().restart([run_request(run_id="run-1")])
    assert phone.pushed == []


class ClockedPhone(QueuePhone):
    """Tells when the directory of a run was made, too."""

    def __init__(self, *arguments, age_s, **fields):
        super().__init__(*arguments, **fields)
        self._times = f"1700000000\n{1700000000 - age_s}\n".encode()

    def shell(self, command, check=True, limit_bytes=None):
        if command.startswith("date"):
            return ShellResult(self._times, b"", 0)
        return super().shell(command, check, limit_bytes)


@pytest.mark.parametrize(
    ("age_s", "state"), [(5, "waiting"), (-5, "waiting"), (3600, "dropped"), (-3600, "dropped")]
)
def test_what_was_never_taken_does_not_wait_for_ever(age_s, state):
    """A companion that runs something else now will not take it."""
    phone = ClockedPhone({"run-1": b""}, age_s=age_s, pids=(8,))

    assert read_state(phone, "run-1") == state


def test_all_runs_of_a_queue_are_started_at_once(tmp_path):
    """After the last request is there, in their order."""
    phone = QueuePhone({})

    start_runs(phone, [run_request(run_id="b"), run_request(run_id="a")], tmp_path)

    assert [path.split("/")[-2] for path in phone.pushed] == ["b", "a"]
    assert phone.commands[-1].endswith("--es run_id b,a")


def test_a_run_waits_for_as_long_as_the_one_before_it_takes():
    """Hours behind a run of somebody else's are no silence."""
    phone = QueuePhone({"run-0": TAKEN + BEGUN, "run-1": TAKEN})

    def sleep(duration_s):
        phone.now_s += 100 * duration_s
        if phone.now_s > 4 * 3600:
            phone.over = {"run-0", "run-1"}

    result = phone.executor(sleep).follow(run_request(run_id="run-1"), SILENT)

    assert isinstance(result, RunSuccess)
    assert phone.now_s > 4 * 3600


class HoardingPhone(QueuePhone):
    """Lists runs without end, and takes its time for each."""

    def shell(self, command, check=True, limit_bytes=None):
        self.now_s += 1
        if command.startswith("ls "):
            return ShellResult("".join(f"run-{n}\n" for n in range(2, 10_000)).encode(), b"", 0)
        return super().shell(command, check, limit_bytes)


def test_a_phone_with_runs_without_end_ends_the_wait():
    """Each question may take its time; all together they may not take hours."""
    phone = HoardingPhone({"run-1": TAKEN})

    result = phone.executor().follow(run_request(run_id="run-1"), SILENT)

    assert "silent" in result.message
    assert phone.now_s < 600


def test_a_run_that_waits_for_nothing_is_given_up():
    """Neither a run that is over, nor one that waits too, nor a dead one is one to wait for."""
    others = {
        "run-0": TAKEN + BEGUN,
        "run-2": TAKEN,
        "run-3": encode_event(RunTaken(pid=1)) + BEGUN,
    }
    phone = QueuePhone({**others, "run-1": TAKEN}, over=["run-0"])

    result = phone.executor().follow(run_request(run_id="run-1"), SILENT)

    assert result.code == "interrupted"
    assert "silent" in result.message


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        pytest.param(TAKEN + BEGUN, "ended without a result", id="begun"),
        pytest.param(TAKEN, "before this run began", id="taken"),
        pytest.param(b"", "did not take the run", id="not-taken"),
    ],
)
def test_a_run_whose_process_died_is_over(progress, words):
    """While the app lives on in another process, and even if it never was the run's."""
    phone = QueuePhone({"run-1": progress}, pids=(8,))

    result = phone.executor().look(run_request(run_id="run-1"), SILENT.on_event).result

    assert result.code == "interrupted"
    assert words in result.message


def test_the_signal_that_ended_a_run_is_told():
    """And the library that it was in; other processes' signals are not this run's."""
    phone = QueuePhone({"run-1": TAKEN + BEGUN}, pids=())
    log = "11-28 10:00:00.123     7    21 F libc    : Fatal signal 4 (SIGILL), code 1, tid 21\n"
    frame = "11-28 10:00:00.523    31    31 F DEBUG   :       #00 pc 0000abcd  "
    phone.crashes = f"{log}{frame}/data/app/x/lib/arm64/libexecutorch.so (offset 0x1)\n".encode()

    died = phone.executor().look(run_request(run_id="run-1"), SILENT.on_event).result
    phone.crashes = phone.crashes.replace(b"    7 ", b"   17 ")
    other = phone.executor().look(run_request(run_id="run-1"), SILENT.on_event).result

    assert died.message.endswith("without a result: SIGILL in libexecutorch.so")
    assert other.message.endswith("without a result")


def test_a_start_that_is_on_its_way_is_not_given_up():
    """The app may be starting while somebody collects already."""
    phone = QueuePhone({"run-1": b""})

    def sleep(duration_s):
        phone.now_s += duration_s
        phone.progress["run-1"] = TAKEN

    look = phone.executor(sleep).look(run_request(run_id="run-1"), SILENT.on_event)

    assert look.result is None
    assert not look.has_begun


# --- links that garble ----------------------------------------------------------------------------


class GarblingPhone(QueuePhone):
    """Its run is over; of each file, the first ``times`` answers have a digit changed on their way,
    which is not to be seen of a result."""

    def __init__(self, times):
        super().__init__({"run-1": TAKEN + BEGUN}, over=["run-1"], pids=())
        self._times = times

    def shell(self, command, check=True, limit_bytes=None):
        if command.startswith("md5sum"):
            (path,) = command.split()[1:]
            whole = super().shell(f"cat {path}").stdout
            return ShellResult(f"{bytes_md5(whole)}  {path}\n".encode(), b"", 0)
        answer = super().shell(command, check, limit_bytes)
        if command.startswith("cat") and self._times > 0:
            self._times -= 1
            return ShellResult(answer.stdout.replace(b"13000000", b"93000000", 1), b"", 0)
        return answer


@pytest.mark.parametrize(("times", "code"), [(0, None), (2, None), (3, "disconnected")])
def test_a_result_is_taken_as_it_is_on_the_phone(times, code):
    """One with another digit would be stored as measured, and the right one deleted."""
    phone = GarblingPhone(times)

    for result in (
        phone.executor().look(run_request(run_id="run-1"), SILENT.on_event).result,
        GarblingPhone(times).executor().follow(run_request(run_id="run-1"), SILENT),
    ):
        assert getattr(result, "code", None) == code
        assert code is not None or result.samples == samples()


@pytest.mark.parametrize(("md5", "code"), [(None, "internal"), ("0" * 32, "disconnected")])
def test_progress_that_is_no_message_is_given_up_only_where_it_is_so_there(md5, code):
    """What a link makes of it may be right another time."""

    class Junk(QueuePhone):
        def shell(self, command, check=True, limit_bytes=None):
            if command.startswith("md5sum"):
                told = md5 or bytes_md5(self.progress["run-1"])
                return ShellResult(f"{told}  progress.jsonl\n".encode(), b"", 0)
            return super().shell(command, check, limit_bytes)

    phone = Junk({"run-1": TAKEN + b"{}\n"}, pids=())

    assert phone.executor().look(run_request(run_id="run-1"), SILENT.on_event).result.code == code


MORE = encode_event(PhaseStarted(phase="load", at_ns=1))


class GarbledProgressPhone(QueuePhone):
    """Of the progress, the first ``times`` answers have another end on their way; more of it comes
    half a minute later, and the result after a minute."""

    def __init__(self, times, end):
        super().__init__({"run-1": TAKEN + BEGUN})
        self._times, self._end = times, end

    def shell(self, command, check=True, limit_bytes=None):
        if command.startswith("md5sum"):
            told = bytes_md5(self.progress["run-1"])
            if "result" in command:
                return NO_SUCH_COMMAND
            return ShellResult(f"{told}  progress.jsonl\n".encode(), b"", 0)
        self.over = {"run-1"} if self.now_s > 60 else set()
        self.progress["run-1"] = TAKEN + BEGUN + (MORE if self.now_s > 30 else b"")
        answer = super().shell(command, check, limit_bytes)
        if "tail" in command and self._times > 0 and answer.stdout:
            self._times -= 1
            return ShellResult(answer.stdout[: -len(self._end)] + self._end, b"", 0)
        return answer


@pytest.mark.parametrize(
    ("times", "end", "code"),
    [
        pytest.param(1, b"\x00\n", None, id="a-line"),
        pytest.param(2, b"\x00\n", None, id="twice"),
        pytest.param(1, b"\x00\x00", None, id="the-end-of-a-line"),
        pytest.param(3, b"\x00\n", "disconnected", id="each-time"),
    ],
)
def test_garbled_progress_is_read_again(times, end, code):
    """A link that garbles a line once ends no following, and each event is heard once."""
    phone, heard = GarbledProgressPhone(times, end), []
    listener = SILENT._replace(on_event=heard.append)

    result = phone.executor().follow(run_request(run_id="run-1"), listener)

    assert getattr(result, "code", None) == code
    assert code is not None or heard == list(decode_events(TAKEN + BEGUN + MORE))


class LeavingWhenGarbled(GarbledProgressPhone):
    """... and one question for its hash finds it gone; its app dies in the end."""

    def __init__(self, times):
        super().__init__(times, b"\x00\n")
        self._hashes_left = times

    def shell(self, command, check=True, limit_bytes=None):
        self._hashes_left -= command.startswith("md5sum")
        if command.startswith("md5sum") and self._hashes_left == 0:
            raise DisconnectedError("The phone is gone", fix="Plug it in again.")
        self.pids = () if self.now_s > 60 else (7,)
        answer = super().shell(command, check, limit_bytes)
        return answer._replace(stdout=answer.stdout.removeprefix(b"over\n"))


@pytest.mark.parametrize("times", [1, 2, 3])
def test_progress_that_was_garbled_as_the_phone_left_is_not_skipped(times):
    """What nobody could read then is read when it is back, or nobody ever has it."""
    phone, heard = LeavingWhenGarbled(times), []
    listener = SILENT._replace(on_event=heard.append)

    result = phone.executor().follow(run_request(run_id="run-1"), listener)

    assert "process ended without a result" in result.message
    assert heard == list(decode_events(TAKEN + BEGUN + MORE))


FIVE_BYTES = ShellResult(b"5\n", b"", 0)


class PullingPhone:
    """Gives each of ``contents`` in turn of a file that has the last; ``None``: it refuses."""

    serial = "pulling"

    def __init__(self, *contents, stat=FIVE_BYTES):
        self._contents, self._stat = list(contents), stat
        self._there = contents[-1] or b"whole"

    def pull(self, source, target, *, limit_bytes):
        content = self._contents.pop(0)
        if content is None:
            raise PhoneError("The phone did not give the file", fix="-")
        target.write_bytes(content)

    def shell(self, command, check=True, limit_bytes=None):
        if command.startswith("stat"):
            return self._stat
        return ShellResult(f"{bytes_md5(self._there)}  trace.bin\n".encode(), b"", 0)


MISSING = ShellResult(b"", b"stat: 'trace.bin': No such file or directory\n", 1)


@pytest.mark.parametrize(
    ("phone", "error"),
    [
        pytest.param(PullingPhone(b"whole"), None, id="whole"),
        pytest.param(PullingPhone(b"wh0le", None, b"whole"), None, id="third"),
        pytest.param(PullingPhone(*[b"wh0le"] * 3, b"whole"), DisconnectedError, id="garbled"),
        pytest.param(PullingPhone(*[None] * 3), DisconnectedError, id="refused"),
        pytest.param(PullingPhone(None, stat=MISSING), PhoneError, id="missing"),
        pytest.param(
            PullingPhone(None, stat=ShellResult(b"900\n", b"", 0)), PhoneError, id="longer"
        ),
    ],
)
def test_a_file_is_fetched_as_it_is_on_the_phone(phone, error, tmp_path):
    """It is given up only where the phone does not have it."""
    target = tmp_path / "trace"

    with pytest.raises(error) if error else nullcontext():
        fetch(phone, "run-1", "trace.bin", target, limit_bytes=100)

    assert error or target.read_bytes() == b"whole"
