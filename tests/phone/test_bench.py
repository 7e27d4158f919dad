"""Following a run: how long a companion may be silent."""

from examples import run_request, samples

from mobilekit.codec import encode
from mobilekit.phone.adb import ShellResult
from mobilekit.phone.bench import Link, follow_run
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
