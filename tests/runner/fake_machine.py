"""A machine, an engine and a clock that a run can be carried out on at once."""

from collections.abc import Callable

import msgspec
from examples import THERMAL

from mobilekit.contract.protocol import BatterySample
from mobilekit.runner.engine import EngineError, TracingUnavailableError
from mobilekit.runner.machine import Machine

MS = 1_000_000
BINDING_NS = 7 * MS


def ignore(_call):
    """Nothing fails."""


class FakeClock:
    def __init__(self):
        self.ns = 0

    def __call__(self):
        return self.ns


class FakeProgram:
    """Takes the given latencies in turn, the last for ever, and returns the input doubled."""

    def __init__(self, clock, latencies_ns, fail_at=None, before=ignore):
        self._clock, self._before = clock, before
        self._latencies = iter(latencies_ns)
        self._last = 0
        self.executed = 0
        self.closed = False
        self._fail_at = fail_at

    def execute(self):
        assert not self.closed
        self._before("infer")
        self.executed += 1
        if self.executed == self._fail_at:
            raise EngineError("kernel failed with 0x12")
        self._last = next(self._latencies, self._last)
        self._clock.ns += self._last

    def set_inputs(self, inputs):
        self._before("bind")
        self._clock.ns += BINDING_NS
        self._inputs = inputs

    def outputs(self):
        self._before("outputs")
        return [2 * self._inputs[0]]

    def close(self):
        self.closed = True


class FakeTracedProgram(FakeProgram):
    trace_kind = "etdump"

    def write_trace(self, target):
        self._before("write_trace")
        target.write_bytes(b"%d iterations" % self.executed)
        self.close()


class FakeEngine:
    """``before`` is told of each call, and may raise what the call is to fail with."""

    name, version, threads = "fake", "1", 1

    def __init__(
        self,
        clock,
        latencies_ns=(10 * MS,),
        fail_at=None,
        fail_load=False,
        can_trace=True,
        before=ignore,
    ):
        self._before = before
        self._clock, self._latencies, self._fail_at = clock, latencies_ns, fail_at
        self._fail_load, self._can_trace = fail_load, can_trace
        self.programs = []

    def load(self, path, method, weights):
        self._before("load")
        self._clock.ns += 50 * MS
        if self._fail_load or path.read_bytes() == b"corrupt":
            raise EngineError("not a program")
        self.programs.append(FakeProgram(self._clock, self._latencies, self._fail_at, self._before))
        return self.programs[-1]

    def load_traced(self, path, method, weights):
        self._before("load_traced")
        if not self._can_trace:
            raise TracingUnavailableError("built without tracing")
        self.programs.append(FakeTracedProgram(self._clock, self._latencies, before=self._before))
        return self.programs[-1]


class FakeStage:
    """An energy stage on the fake clock whose battery is plugged in during some times.

    It is as warm as ``warm_until_ns`` says.
    """

    def __init__(self, clock, *plugged_ns, warm_until_ns=0):
        self._clock, self._plugged_ns = clock, plugged_ns
        self._warm_until_ns = warm_until_ns

    def now_ns(self):
        return self._clock.ns

    def idle_until(self, until_ns):
        self._clock.ns = until_ns

    def iterate_until(self, until_ns):
        self._clock.ns = until_ns + 3 * MS
        return 4

    def read_battery(self):
        now_ns = self._clock.ns
        plugged = any(start_ns <= now_ns < end_ns for start_ns, end_ns in self._plugged_ns)
        return battery_sample(now_ns, plugged, 400 if now_ns < self._warm_until_ns else 250)

    def read_rails(self):
        return ()

    def read_thermal(self):
        return msgspec.structs.replace(THERMAL, at_ns=self._clock.ns)


def battery_sample(at_ns, plugged=False, temperature_decicelsius=250):
    return BatterySample(
        at_ns=at_ns,
        charge_counter_uah=1_000_000,
        current_now_ua=-1000,
        energy_counter_nwh=None,
        voltage_mv=3800,
        temperature_decicelsius=temperature_decicelsius,
        level_percent=50,
        plugged=plugged,
    )


def machine(clock, engine, stage: Callable | None = None):
    def make_engine(artifact_format, threads):
        if artifact_format != "pte":
            raise EngineError(f"no engine for .{artifact_format}")
        return engine

    return Machine(
        name="test",
        clock_ns=clock,
        make_engine=make_engine,
        battery="simulated" if stage else None,
        read_battery=battery_sample if stage else None,
        make_energy_stage=stage,
    )
