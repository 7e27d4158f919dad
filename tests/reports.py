"""Results that a report shows: few of every kind, many, and such as would break a page."""

from __future__ import annotations

import functools

from examples import MS, artifact, device_info, energy_plan, measured, traced_run
from msgspec.structs import replace
from simulated import work

from mobilekit.contract.protocol import OutputCheck
from mobilekit.records.finding import Finding
from mobilekit.records.measurement import Classification, PredictedClasses

HOSTILE = "</script><img src=//evil.example/x onerror=alert(1)>'\"{{7*7}}<!--\u2028\x1b[31m"
"""What a page must show as it is, and nothing else."""
NOISY = Finding(id="NOISY", severity="warning", summary="latencies scatter", advice="Rest it.")
FAILED = Finding(id="RUN-FAILED", severity="error", summary="it ended early", advice="Run again.")


@functools.cache
def windows():
    """Three blocks on a simulated battery."""
    paid, _, _ = work(energy_plan(blocks=3, idle_ns=60 * 10**9, load_ns=60 * 10**9))
    return tuple(paid)


def network(name):
    made = artifact()
    return replace(made, model=replace(made.model, name=name))


def run(id, latency_ms, *, model="nin", phone="nexus7", hour=10, **fields):
    iteration_ns = tuple(int(latency_ms * MS) + index % 7 * 3000 for index in range(100))
    values = {
        "started_at": f"2026-05-04T{hour:02}:00:00+00:00",
        "artifact": network(model),
        "device": device_info(name=phone, device=phone, serial=phone, hardware_serial=phone),
        "iteration_ns": iteration_ns,
    }
    return measured(id, **(values | fields))


def here(id, latency_ms, **fields):
    device = device_info(name="pc", serial="pc", hardware_serial="", link="none")
    return run(id, latency_ms, device=device, profile=None, **fields)


def virtual(id, latency_ms, phone="pixel8", **fields):
    device = device_info(name=phone, serial="127.0.0.1:1", hardware_serial="", virtual=True)
    return run(id, latency_ms, device=device, virtual=True, **fields)


def evaluated(id, latency_ms, right, **fields):
    """Of 20 examples so many told rightly."""
    ranks = tuple(0 if index < right else 3 for index in range(20))
    told = PredictedClasses(classes=(1,) * 20, label_ranks=ranks)
    classification = Classification(
        classes=10,
        device=told,
        pytorch=told,
        agreement=OutputCheck(matches=True, max_absolute_error=0.0, max_relative_error=0.0),
    )
    return run(id, latency_ms, purpose="evaluate", classification=classification, **fields)


def few(campaign=None):
    """Of every kind one or two."""
    made = [
        run("nin-nexus7-a", 1080, windows=windows(), hour=9, findings=(NOISY,)),
        run("nin-nexus7-b", 1093, hour=10),
        here("nin-pc", 12.5, hour=11),
        virtual("nin-virtual", 13.1, windows=windows(), hour=12),
        run("squeezenet-nexus7", 240, model="squeezenet", hour=13, findings=(FAILED,)),
        run("squeezenet-pixel6a", 31, model="squeezenet", phone="pixel6a", hour=14),
        evaluated("digits-nexus7", 0.31, 18, model="digits", hour=15),
        traced_run(
            "traced-nexus7",
            30 * MS,
            10 * MS,
            device=device_info(name="nexus7", serial="nexus7", hardware_serial="nexus7"),
            started_at="2026-05-04T16:00:00+00:00",
        ),
    ]
    return [replace(each, campaign=campaign) for each in made]


def many(networks=6, phones=12, repeats=2):
    """A night of a lab."""
    return [
        run(
            f"net{n}-phone{p}-{r}",
            (n + 1) ** 2 * (1 + p * 0.7) * (1 + 0.01 * r),
            model=f"net{n}",
            phone=f"phone{p}",
            hour=r,
            windows=windows() if p == 0 else (),
        )
        for n in range(networks)
        for p in range(phones)
        for r in range(repeats)
    ]


def hostile():
    """Every text that a phone, a file or another host can have given."""
    finding = Finding(id=HOSTILE, severity="warning", summary=HOSTILE, advice=HOSTILE)
    device = device_info(
        name=HOSTILE, manufacturer=HOSTILE, model=HOSTILE, android_release=HOSTILE, abi=HOSTILE
    )
    made = run("hostile", 10, model=HOSTILE, findings=(finding,), windows=windows())
    host = replace(made.host, name=HOSTILE, cpu=HOSTILE, platform=HOSTILE)
    artifact = replace(made.artifact, backend=HOSTILE)
    return [replace(made, device=device, host=host, campaign=HOSTILE, artifact=artifact)]
