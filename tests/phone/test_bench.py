"""Following a run: how long a companion may be silent."""

import pytest
from examples import run_request, samples

from mobilekit.codec import encode
from mobilekit.errors import DisconnectedError
from mobilekit.phone.adb import ShellResult
from mobilekit.phone.bench import Link, follow_run, look_at_run, start_run
from mobilekit.protocol import (
    PROTOCOL_VERSION,
    IterationsMeasured,
    PhaseStarted,
    RunSuccess,
    TensorFile,
    encode_event,
)

NS_PER_S = 10**9


class BusyPhone:
    """Tells of 50 ms for an iteration, and has its result 900 s later without a word between."""

    serial = "busy"

    def __init__(self):
        self.now_s = 0.0
        self._events = [
            IterationsMeasured(latency_ns=(NS_PER_S // 20,) * 30),
            PhaseStarted(phase="evaluate", at_ns=0),
        ]

    def sleep(self, duration_s):
        self.now_s += duration_s

    def shell(self, command, check=True):
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


def follow(request):
    phone = BusyPhone()
    link = Link(
        on_event=lambda _event: None,
        on_lost=lambda: None,
        on_back=lambda: None,
        reconnect=lambda: phone,
        sleep=phone.sleep,
        clock_ns=lambda: int(phone.now_s * NS_PER_S),
    )
    return follow_run(phone, request, link)


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


PROGRESS = encode_event(PhaseStarted(phase="energy", at_ns=0)) + encode_event(
    IterationsMeasured(latency_ns=(1, 2))
)


def link_to(phone):
    return Link(
        on_event=lambda _event: None,
        on_lost=lambda: None,
        on_back=lambda: None,
        reconnect=lambda: phone,
        sleep=phone.sleep,
        clock_ns=lambda: 0,
    )


def test_ctrl_c_keeps_what_was_written_since_the_last_look():
    """The run is stopped, and its progress is read to the end before it is given back."""
    phone = WritingPhone(PROGRESS)

    result = follow_run(phone, run_request(), link_to(phone))

    assert phone.stopped
    assert result.code == "interrupted"
    assert result.samples.iteration_ns == (1, 2)


def test_ctrl_c_before_the_cable_is_noticed_to_be_out():
    """What cannot be stopped goes on: the run is lost for now, not over."""
    phone = WritingPhone(PROGRESS, gone=True)

    result = follow_run(phone, run_request(), link_to(phone))

    assert not phone.stopped
    assert result.code == "disconnected"


@pytest.mark.parametrize("at", ["on_lost", "sleep", "reconnect", "on_back"])
def test_ctrl_c_whenever_the_cable_is_out(at):
    """Nothing that is done meanwhile ends the command without a result."""
    phone = AbsentPhone(at)

    def reconnect():
        phone.call("reconnect")
        return phone

    link = Link(
        on_event=lambda _event: None,
        on_lost=lambda: phone.call("on_lost"),
        on_back=lambda: phone.call("on_back"),
        reconnect=reconnect,
        sleep=lambda _duration_s: phone.call("sleep"),
        clock_ns=lambda: 0,
    )

    result = follow_run(phone, run_request(), link)

    assert result.code == "disconnected"


def test_a_link_that_breaks_while_the_app_is_started(tmp_path):
    """The run may have begun, so following it is what tells."""
    start_run(LeavingPhone(), run_request(), tmp_path)


def test_progress_that_is_none():
    """One run that cannot be read is a failure of its own, not of all that are collected."""
    phone = WritingPhone(PROGRESS + b'{"type":"unheard of"}\n')
    phone._interrupted = True

    result = look_at_run(phone, run_request(), link_to(phone))

    assert result.code == "internal"
