"""``campaign``: many runs, unattended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mobilekit.cli.command import Commands
from mobilekit.cli.failure import exit_for_damage, exit_with
from mobilekit.cli.group import Group
from mobilekit.cli.options import JsonFlag, StoreOption
from mobilekit.cli.terminal import say, terminal_width

if TYPE_CHECKING:
    from mobilekit.campaign.control import Standing
    from mobilekit.errors import ProtocolError
    from mobilekit.records.campaign import Campaign, CampaignPlan

app = Commands(
    cls=Group,
    rich_markup_mode=None,
    help="Models x devices x repeats from one file, unattended: `mobilekit campaign run FILE`.",
)
CampaignArgument = Annotated[
    str, typer.Argument(help="An id, the beginning of one, or `last`.", metavar="[CAMPAIGN]")
]
RunJsonFlag = Annotated[
    bool,
    typer.Option(
        "--json", help="Print a JSON document a line: each run that ends, then the whole."
    ),
]
DetachFlag = Annotated[
    bool,
    typer.Option(
        "--detach", help="Return once everything waits for the hosts' agents, which carry it out."
    ),
]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="Write its results as a page once it is over, as `mobilekit report` does.",
        show_default=False,
    ),
]


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="The campaign's file, such as campaign.toml.")],
    detach: DetachFlag = False,
    report: ReportOption = None,
    store: StoreOption = None,
    as_json: RunJsonFlag = False,
) -> None:
    """Begin a campaign and carry it out: here, and on the hosts whose agents offer its devices."""
    from mobilekit.campaign.file import read_plan

    _check_report(report, detach=detach)
    run_plan(read_plan(file), store, as_json=as_json, detach=detach, report=report)


@app.command()
def resume(
    campaign: CampaignArgument = "last",
    detach: DetachFlag = False,
    report: ReportOption = None,
    store: StoreOption = None,
    as_json: RunJsonFlag = False,
) -> None:
    """Carry out what did not take place: what was stopped, killed or could not begin."""
    from mobilekit import places
    from mobilekit.campaign import control

    _check_report(report, detach=detach)
    place = store or places.default_store()
    resumed = control.resume(place, campaign)
    _follow(place, resumed, as_json=as_json, detach=detach, report=report)


@app.command()
def stop(
    campaign: CampaignArgument = "last",
    store: StoreOption = None,
) -> None:
    """Begin no more of its runs, and stop those that are under way, wherever they are."""
    from mobilekit import places
    from mobilekit.campaign import control

    stopped = control.stop(store or places.default_store(), campaign)
    say(
        f"{stopped.id} is stopped; what is under way ends within seconds. "
        f"`mobilekit campaign resume {stopped.id}` goes on with it."
    )


@app.command()
def status(
    campaign: CampaignArgument = "last",
    all_runs: Annotated[bool, typer.Option("--all", help="A line for every run.")] = False,
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show how a campaign stands: counts by device, what is under way, what failed."""
    from mobilekit import places
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.results.campaigns import opened
    from mobilekit.results.documents import make_campaign_document
    from mobilekit.results.text.campaign import render_campaign

    with opened(store or places.default_store()) as campaigns:
        found = campaigns.find(campaign)
        runs = campaigns.list_runs(found.id)
    if as_json:
        say(encode_pretty(make_campaign_document(found, runs)), nl=False)
    else:
        say(render_campaign(found, runs, all_runs=all_runs, width=terminal_width()))


@app.command("list")
def list_campaigns(store: StoreOption = None, as_json: JsonFlag = False) -> None:
    """List the campaigns of the store, the newest first."""
    from mobilekit import places
    from mobilekit.contract.codec import encode_pretty
    from mobilekit.results.campaigns import opened
    from mobilekit.results.documents import CampaignsDocument, ListedCampaign
    from mobilekit.results.listing import campaigns_table
    from mobilekit.results.tables.text import render_text

    unread: list[ProtocolError] = []
    with opened(store or places.default_store()) as campaigns:
        found = campaigns.list_campaigns(unread.append)
        listed = [(each, campaigns.count_states(each.id)) for each in found]
    if as_json:
        document = CampaignsDocument(
            campaigns=tuple(
                ListedCampaign(campaign=each, counts=dict(counts)) for each, counts in listed
            )
        )
        say(encode_pretty(document), nl=False)
    elif listed:
        say(render_text(campaigns_table(listed), terminal_width()))
    elif not unread:
        say("There is no campaign yet. `mobilekit campaign run FILE` begins one.")
    exit_for_damage(unread)


@app.command()
def move(
    source: Annotated[str, typer.Option("--from", metavar="HOST", help="Whose work.")],
    campaign: CampaignArgument = "last",
    target: Annotated[
        str | None,
        typer.Option("--to", metavar="HOST", help="Who takes it. [default: who offers the phone]"),
    ] = None,
    store: StoreOption = None,
) -> None:
    """Give the work of a host that does not come back to hosts that have its phones now."""
    from mobilekit import places
    from mobilekit.campaign import control

    control.move(store or places.default_store(), campaign, source, target, say)


def _check_report(report: Path | None, *, detach: bool) -> None:
    """Before anything is measured."""
    from mobilekit.errors import UsageError
    from mobilekit.results.output_file import check_writable

    if report is None:
        return
    if detach:
        raise UsageError(
            "With --detach nobody is there at the end to write a report",
            report=report,
            fix="Leave --report out; `mobilekit report CAMPAIGN` writes it once it is over.",
        )
    check_writable(report)


def run_plan(
    plan: CampaignPlan,
    store: str | None,
    *,
    as_json: bool,
    detach: bool = False,
    report: Path | None = None,
) -> None:
    """Begin a campaign, and follow it to its end unless it is left to the hosts."""
    from mobilekit import places
    from mobilekit.campaign import control
    from mobilekit.cli.progress import TerminalReporter

    place = store or places.default_store()
    with TerminalReporter() as reporter:
        campaign = control.begin(place, plan, reporter.note)
    _follow(place, campaign, as_json=as_json, detach=detach, report=report)


def _follow(
    place: str | Path, campaign: Campaign, *, as_json: bool, detach: bool, report: Path | None
) -> None:
    from mobilekit.campaign import control
    from mobilekit.cli.failure import after_the_answer, show_failure
    from mobilekit.cli.following import CampaignReporter
    from mobilekit.cli.report import write_report
    from mobilekit.contract.codec import encode
    from mobilekit.errors import StoppedError
    from mobilekit.results.campaigns import opened
    from mobilekit.results.documents import make_campaign_document
    from mobilekit.results.store import Store
    from mobilekit.results.text.campaign import render_campaign

    with opened(place) as campaigns:
        begun = campaigns.list_runs(campaign.id)
    with CampaignReporter(campaign, begun, as_json=as_json) as follower:
        if not detach:
            try:
                control.follow(place, campaign, follower)
            except KeyboardInterrupt:
                raise StoppedError(
                    "Interrupted from the keyboard: what was under way here is ended",
                    campaign=campaign.id,
                    fix=f"`mobilekit campaign resume {campaign.id}` goes on with it.",
                ) from None
    with opened(place) as campaigns:
        runs = campaigns.list_runs(campaign.id)
        standing = control.stand(campaigns, campaign)
    if as_json:
        say(encode(make_campaign_document(campaign, runs)))
    else:
        say(render_campaign(campaign, runs, width=terminal_width()))
    if report is not None and any(run.result_id for run in runs):
        with after_the_answer():
            written = write_report([campaign.id], report, Store(place), show_failure)
        say(written, err=as_json)
    if not detach:
        _exit_for(standing)


def _exit_for(standing: Standing) -> None:
    from mobilekit.errors import IncompleteError, SomeFailedError

    campaign, counts = standing.campaign, standing.counts
    if counts["stopped"] or not standing.is_over:
        exit_with(
            IncompleteError(
                "The campaign is not complete",
                campaign=campaign.id,
                stopped=counts["stopped"],
                fix=f"`mobilekit campaign resume {campaign.id}` goes on with it.",
            )
        )
    if counts["failed"]:
        exit_with(
            SomeFailedError(
                f"{counts['failed']} of {sum(counts.values())} runs failed",
                campaign=campaign.id,
                fix=f"`mobilekit campaign status {campaign.id}` says why; `campaign resume` "
                "repeats those that could not begin.",
            )
        )
