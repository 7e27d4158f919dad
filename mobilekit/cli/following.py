"""A campaign while it goes on: a live table on a terminal, a line for each run elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mobilekit.campaign.control import Standing
from mobilekit.cli.terminal import say
from mobilekit.contract.codec import encode
from mobilekit.plain import plain
from mobilekit.records.campaign import OVER, Campaign, CampaignRun
from mobilekit.results.documents import CampaignEventDocument
from mobilekit.results.text.campaign import describe_run, describe_total

MOST_ROWS = 30
"""Of phones in the table; the others are counted below it."""


class CampaignReporter:
    """A ``control.Follower``."""

    def __init__(self, campaign: Campaign, runs: Sequence[CampaignRun], *, as_json: bool) -> None:
        self._console = Console(file=sys.stderr, highlight=False)
        self._campaign = campaign
        self._as_json = as_json
        self._phones: dict[str, str] = {run.phone: run.host for run in runs}
        self._total = Counter(run.phone for run in runs)
        self._ended: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        # What ran before a resume is no news.
        self._known = {(run.key, run.attempt) for run in runs if run.state in OVER}
        for run in runs:
            if run.state in OVER:
                self._count(run)
        self._waits: dict[str, str] = {}
        self._began_s = time.monotonic()
        self._standing: Standing | None = None
        self._live = (
            Live(self, console=self._console, refresh_per_second=2, transient=True)
            if self._console.is_terminal and not as_json
            else None
        )

    def __enter__(self) -> CampaignReporter:
        self.note(
            f"{self._campaign.id}: {sum(self._total.values())} runs, "
            f"seed {self._campaign.plan.seed}"
        )
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def note(self, text: str) -> None:
        self._console.print(plain(text), style="dim", markup=False, soft_wrap=True)

    def ended(self, run: CampaignRun) -> None:
        if (run.key, run.attempt) in self._known:
            return
        self._known.add((run.key, run.attempt))
        self._count(run)
        if self._as_json:
            say(encode(CampaignEventDocument(run=run)))
            sys.stdout.flush()
        elif self._live is None or run.state != "done":
            over = sum(self._ended.values())
            self.note(f"{over} of {sum(self._total.values())}: {describe_run(run)}")

    def stands(self, standing: Standing) -> None:
        self._standing = standing
        if self._live is None:
            waits = {run.key: run.detail for run in standing.begun if run.detail[:5] == "waits"}
            for key, detail in waits.items():
                if self._waits.get(key) != detail:
                    self.note(f"{key} {detail}")
            self._waits |= waits

    def _count(self, run: CampaignRun) -> None:
        self._ended[run.phone] += 1
        self._failed[run.phone] += run.state == "failed"

    def __rich__(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for name in ("phone", "host", "runs", "failed", "now"):
            table.add_column(name, justify="right" if name in ("runs", "failed") else "left")
        begun = {run.phone: run for run in (self._standing.begun if self._standing else ())}
        # Where something goes on comes first.
        phones = sorted(self._phones, key=lambda phone: (phone not in begun, phone))
        for phone in phones[:MOST_ROWS]:
            run = begun.get(phone)
            now = "" if run is None else f"{run.key}  {run.detail}"
            table.add_row(
                Text(plain(phone)),
                Text(plain(self._phones[phone])),
                f"{self._ended[phone]} of {self._total[phone]}",
                str(self._failed[phone] or ""),
                Text(plain(now), overflow="ellipsis", no_wrap=True),
            )
        more = len(phones) - MOST_ROWS
        table.caption = Text(
            describe_total(
                sum(self._ended.values()),
                sum(self._total.values()),
                time.monotonic() - self._began_s,
                more_phones=max(0, more),
            )
        )
        table.caption_justify = "left"
        return table
