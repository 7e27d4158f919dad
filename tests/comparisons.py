"""Sound runs of three devices, to be compared."""

from examples import MS, device_info, measurement, run_request, samples

from mobilekit.analysis.compare.comparison import MeasuredSide, compare
from mobilekit.contract.protocol import PROTOCOL_VERSION, RunSuccess


def measured(id, latency_ms, **fields):
    latency_ns = tuple(int(latency_ms * MS) + index % 3 * 1000 for index in range(100))
    result = RunSuccess(
        protocol_version=PROTOCOL_VERSION, run_id="r", samples=samples(iteration_ns=latency_ns)
    )
    return measurement(**({"id": id, "result": result} | fields))


def nexus7(latency_ms=1000, **fields):
    return measured("on-nexus7", latency_ms, device=device_info(name="nexus7"), **fields)


def pc(latency_ms=10, **fields):
    return measured("on-pc", latency_ms, device=device_info(name="pc"), **fields)


def pixel8(latency_ms=100, **fields):
    return measured("on-pixel8", latency_ms, device=device_info(name="pixel8"), **fields)


def compared(*runs):
    """The last one is the reference."""
    *sides, against = map(MeasuredSide, runs)
    return compare(sides, against)


SOUND = compared(nexus7(), pc())
REFUSED = compared(nexus7(request=run_request(min_iterations=30)), pc())
