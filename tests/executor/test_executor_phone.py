"""Following runs: how long a companion may be silent, what Ctrl-C does, and queues."""

import pytest
from examples import run_request, samples

from mobilekit.contract.checks import encode_event
from mobilekit.contract.codec import encode
from mobilekit.contract.protocol import (
    PROTOCOL_VERSION,
    IterationsMeasured,
    PhaseStarted,
    RunSuccess,
    RunTaken,
    TensorFile,
)
from mobilekit.errors import DisconnectedError
from mobilekit.executor.base import Listener
from mobilekit.executor.phone import SILENT, PhoneExecutor
from mobilekit.executor.watch import Patience
from mobilekit.phone.adb import ShellResult
from mobilekit.phone.runs import read_state, start_runs

NS_PER_S = 10**9


class BusyPhone:
    """Tells of 50 ms for an iteration, and has its result 900 s later without a word between."""

    serial = "busy"

    def __init__(self):
        self.now_s = 0.0
        self._events = [
            RunTaken(pid=7),
            IterationsMeasured(latency_ns=(NS_PER_S // 20,) * 30),
            PhaseStarted(phase="evaluate", at_ns=0),
        ]

    def sleep(self, duration_s):
        self.now_s += duration_s

    def shell(self, command, check=True):
        if command.startswith("pidof"):
            return ShellResult(b"7\n", b"", 0)
        if command.startswith("cat"):
            result = RunSuccess(
                protocol_version=PROTOCOL_VERSION, run_id="nin-nexus7-1", samples=samples()
            )
            return ShellResult(encode(result), b"", 0)
        said = b"".join(encode_event(event) for event in self._events)
        if "tail" in command:
            self._events = []
        over = b"over\n" if self.now_s > 900 else b""
        return ShellResult(over + said, b"", 0)


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


def follow(request):
    phone = BusyPhone()
    return executor_of(phone, clock_ns=clock_of(phone)).follow(request, SILENT)


def test_many_examples_may_take_their_time():
    """10,000 of 50 ms take 500 s at least, and input and output come on top."""
    examples = TensorFile(sha256="d" * 64, dtype="float32", shape=(10_000, 1, 3, 224, 224))

    assert isinstance(follow(run_request(evaluation=examples)), RunSuccess)


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

    def shell(self, command, check=True):
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

    def shell(self, command, check=True):
        raise DisconnectedError("The phone is gone", fix="Plug it in.")

    def call(self, name):
        if name == self._at:
            raise KeyboardInterrupt


class LeavingPhone:
    """Leaves when the app is started, as if somebody pulled the cable."""

    serial = "leaving"

    def shell(self, command, check=True):
        if command.startswith("am start"):
            raise DisconnectedError("The phone is gone", fix="Plug it in.")
        return ShellResult(b"", b"", 0)

    def push(self, source, target, *, on_bytes):
        pass


TAKEN = encode_event(RunTaken(pid=7))
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


@pytest.mark.parametrize("at", ["on_lost", "sleep", "reconnect", "on_back"])
def test_ctrl_c_whenever_the_cable_is_out(at):
    """Nothing that is done meanwhile ends the command without a result."""
    phone = AbsentPhone(at)

    def reconnect():
        phone.call("reconnect")
        return phone

    listener = Listener(
        on_event=lambda _event: None,
        on_lost=lambda: phone.call("on_lost"),
        on_back=lambda: phone.call("on_back"),
    )
    executor = executor_of(
        phone, reconnect=reconnect, sleep=lambda _duration_s: phone.call("sleep")
    )

    result = follow_or_stop(executor, run_request(), listener)

    assert result.code == "disconnected"


def test_a_link_that_breaks_while_the_app_is_started(tmp_path):
    """The run may have begun, so following it is what tells."""
    start_runs(LeavingPhone(), [run_request()], tmp_path)


def test_progress_that_is_none():
    """One run that cannot be read is a failure of its own, not of all that are collected."""
    phone = WritingPhone(PROGRESS + b'{"type":"unheard of"}\n')
    phone._interrupted = True

    result = executor_of(phone).look(run_request(), SILENT.on_event).result

    assert result.code == "internal"


# --- queues ---------------------------------------------------------------------------------------

BEGUN = encode_event(PhaseStarted(phase="verify", at_ns=0))


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

    def shell(self, command, check=True):
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
