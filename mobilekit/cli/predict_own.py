"""``predict --score``: what one's own runs say of predictions."""

from __future__ import annotations


def tell_scores(store: str | None, *, as_json: bool) -> None:
    """How far stored predictions were right, on stdout."""
    from mobilekit.analysis.predict.score import score
    from mobilekit.analysis.predict.stored import scored
    from mobilekit.cli.terminal import say, terminal_width
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.results.documents import ScoresDocument
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
