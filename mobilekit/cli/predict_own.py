"""``predict --score`` and ``--calibrate``: one's own phone."""

from __future__ import annotations

from mobilekit.contract.protocol import Format
from mobilekit.records.network import Precision, Variant


def tell_scores(store: str | None, *, as_json: bool) -> None:
    """How far stored predictions were right, on stdout."""
    from mobilekit.analysis.predict.score import score
    from mobilekit.analysis.predict.stored import scored
    from mobilekit.cli.terminal import say, terminal_width
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.results.prediction_documents import ScoresDocument
    from mobilekit.results.store import open_to_read
    from mobilekit.results.text.prediction import render_scores

    predictions = scored(open_to_read(store).list_latencies())
    scores = score(predictions)
    if as_json:
        document = ScoresDocument(scores=scores, predictions=predictions)
        say(encode_pretty(document), nl=False)
    elif scores:
        say(render_scores(scores, terminal_width()))
    else:
        say(
            "No stored run was predicted before it. `mobilekit deploy` predicts a run once another "
            "network was measured on the phone, or the same on another phone of yours, by the same "
            "engine in the same precision."
        )


def calibrate_phone(
    device: str,
    networks: int,
    *,
    threads: int | None,
    format: Format | None,
    precision: Precision | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Measure the networks that tell most on that phone; what it brought, on stdout."""
    from mobilekit import places
    from mobilekit.cli.progress import TerminalReporter
    from mobilekit.cli.terminal import say
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.flow.calibrate import calibrate
    from mobilekit.flow.prepare import DeployOptions
    from mobilekit.model.given import NOTHING
    from mobilekit.results.prediction_documents import CalibrationDocument
    from mobilekit.results.store import Store
    from mobilekit.results.text.prediction import render_calibration

    options = DeployOptions(
        model="",
        given=NOTHING,
        device=device,
        preset="fast",
        threads=threads,
        energy=False,
        require_phone=False,
        format=format or "auto",
        variant=Variant(precision=precision or "fp32"),
        calibration=None,
        apk=None,
        install=True,
        seek_backend=False,
    )
    opened = Store(store or places.default_store())
    with TerminalReporter() as reporter:
        done = calibrate(options, networks, opened, reporter)
    if as_json:
        say(encode_pretty(CalibrationDocument(calibration=done)), nl=False)
    else:
        say(render_calibration(done))
