"""What a person does with campaigns: begin, follow, stop, resume, move; and a host's whole life."""

from __future__ import annotations

import platform
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from mobilekit.campaign import engine
from mobilekit.campaign.expand import expand
from mobilekit.campaign.host import Host, Measure, holding_name
from mobilekit.campaign.measuring import measuring
from mobilekit.campaign.planning import find_offers, place_runs, read_offers, waiting_of
from mobilekit.errors import DeviceError, InUseError, MobilekitError, StoreError
from mobilekit.flow.ids import make_id
from mobilekit.records.campaign import (
    OVER,
    Campaign,
    CampaignPlan,
    CampaignRun,
    Offer,
    PlacedRun,
    RunState,
)
from mobilekit.results.campaign_rows import RunId
from mobilekit.results.campaigns import (
    Campaigns,
    opened,
)

LOOK_S = 0.5
"""How often a campaign is looked at by who follows it."""
LOOKS_BETWEEN_TURNS = 10
"""... before it is looked whether its hosts live."""
IDLE_TURNS = 2
"""... with nothing under way on a host, after which what waits for it is brought to its queue
again, and after twice as many each time: who began the campaign, or had a run wait again, may
have died between the store and the queue."""
TEND_S = 10.0
"""How often an agent looks after the campaigns that are not over."""
LATEST_S = 60.0
"""How long after its end a run's result may come into the database, and is told of all the same."""


class Standing(NamedTuple):
    """How a campaign stands."""

    campaign: Campaign
    counts: Counter[RunState]
    begun: tuple[CampaignRun, ...]
    """What is under way."""

    @property
    def is_over(self) -> bool:
        return all(self.counts[state] == 0 for state in ("queued", "running", "stopping"))


class Follower(Protocol):
    """Hears of a campaign while it is followed."""

    def note(self, text: str) -> None: ...

    def ended(self, run: CampaignRun) -> None: ...

    def stands(self, standing: Standing) -> None: ...


def this_host() -> str:
    return platform.node() or "localhost"


def begin(place: str | Path, plan: CampaignPlan, note: Callable[[str], None]) -> Campaign:
    """Store a campaign and have its runs wait for their phones.

    Raises for a device that is not there or a model that cannot be had, before anything is stored.
    """
    host = this_host()
    runs = expand(plan)
    with opened(place) as campaigns, engine.open_queues(place) as queues:
        offers = find_offers(plan.devices, campaigns.list_agents(), host)
        placed = place_runs(runs, offers, host, campaigns, note)
        campaign = Campaign(
            id=make_id(plan.name),
            started_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            planned_on=host,
            plan=plan,
        )
        campaigns.add(campaign, placed)
        _enqueue(campaigns, queues, campaign.id)
    return campaign


def follow(place: str | Path, campaign: Campaign, follower: Follower) -> Standing:
    """Until it is over. What is to happen on this computer is carried out here, unless another
    process does so already; hosts that do not come back are told of, and their work is moved after
    the time that the plan states."""
    host = this_host()
    with ExitStack() as stack:
        campaigns = stack.enter_context(opened(place))
        queues = stack.enter_context(engine.open_queues(place))
        heard_s, heard, looks, is_serving = 0.0, set[tuple[str, int]](), 0, False
        tending = Tending(campaign, follower.note)
        while True:
            if looks % LOOKS_BETWEEN_TURNS == 0:
                if not is_serving and campaigns.has_open_runs(campaign.id, host):
                    is_serving = _try_to_serve(stack, place, host, follower.note)
                tending.turn(queues, campaigns)
            standing = stand(campaigns, campaign)
            looks += 1
            for run in campaigns.list_runs(campaign.id, states=OVER, ended_since_s=heard_s):
                if (run.key, run.attempt) not in heard:
                    heard.add((run.key, run.attempt))
                    heard_s = max(heard_s, (run.ended_s or 0.0) - LATEST_S)
                    follower.ended(run)
            follower.stands(standing)
            if standing.is_over:
                break
            time.sleep(LOOK_S)
        queues.forget(campaign.id)
    return standing


def stand(campaigns: Campaigns, campaign: Campaign) -> Standing:
    return Standing(
        campaign,
        campaigns.count_states(campaign.id),
        tuple(campaigns.list_runs(campaign.id, states=("running", "stopping"))),
    )


def resume(place: str | Path, given: str) -> Campaign:
    """Have everything wait again that did not take place; what ran stays as it is."""
    with opened(place) as campaigns, engine.open_queues(place) as queues:
        campaign = campaigns.find(given)
        campaigns.begin_anew(queues.find_dead(campaign.id))
        campaigns.requeue(campaign.id)
        _enqueue(campaigns, queues, campaign.id)
    return campaign


def stop(place: str | Path, given: str) -> Campaign:
    """Begin nothing more of it, and have what is under way be stopped."""
    with opened(place) as campaigns, engine.open_queues(place) as queues:
        campaign = campaigns.find(given)
        queues.drop(campaigns.stop(campaign.id))
    return campaign


def move(
    place: str | Path, given: str, source: str, target: str | None, note: Callable[[str], None]
) -> int:
    """Give what is not over of a host's work to others that offer its phones; how many runs.

    ``target``: ``None``, whichever does. Raises ``DeviceError`` where nobody offers any.
    """
    with opened(place) as campaigns, engine.open_queues(place) as queues:
        campaign = campaigns.find(given)
        moved = _move(queues, campaigns, campaign, source, target, note)
    if moved is None:
        raise DeviceError(
            f"No {'live host' if target is None else target} offers a phone of {source}'s work",
            campaign=campaign.id,
            fix="Plug its phones into another host; `mobilekit devices --all` shows who offers "
            "which.",
        )
    return moved


@contextmanager
def serving_host(
    place: str | Path,
    name: str,
    note: Callable[[str], None],
    *,
    lent: Sequence[str] | None = None,
    measure: Measure | None = None,
) -> Iterator[Host]:
    """This process as a host of campaigns, in threads, for as long as the context.

    ``lent``: devices to offer besides the phones that are attached, by an agent, which looks after
    campaigns that nobody follows too; ``None``: nothing is offered, and only what is planned for
    this host by name is carried out. Raises ``InUseError`` where one
    of this name lives.
    """

    def offers() -> tuple[Offer, ...]:
        return () if lent is None else read_offers(name, lent)

    def requeue(run: RunId) -> None:
        with engine.open_queues(place) as queues:
            found = campaigns.find_run(run.campaign, run.key)
            if found is not None:
                queues.add([waiting_of(*found)])

    with ExitStack() as stack:
        stack.enter_context(holding_name(name, engine.find_engine(place)))
        campaigns = stack.enter_context(opened(place, most_connections=1))
        carrier = Host(name, campaigns, measure or measuring(place), requeue, note, offers)
        stack.enter_context(carrier.joined())
        # The engine ends first: it would begin another run for each that is ended.
        stack.callback(carrier.end)
        stack.enter_context(engine.serving(place, name, carrier))
        if lent is not None:
            stack.enter_context(_tending_all(place, name, note))
        yield carrier


def _try_to_serve(
    stack: ExitStack, place: str | Path, host: str, note: Callable[[str], None]
) -> bool:
    try:
        stack.enter_context(serving_host(place, host, note))
    except InUseError:
        return False  # That one does it; should it end, this one takes its place.
    return True


class Tending:
    """Sees to it that a campaign goes on: any number of processes may do so at once."""

    def __init__(self, campaign: Campaign, note: Callable[[str], None], host: str | None = None):
        """``host``: whose queue is looked after; ``None``: every one's."""
        self._campaign = campaign
        self._note = note
        self._host = host
        self._silent: set[str] = set()
        self._idle_turns: Counter[str] = Counter()
        """By host, since something was under way there."""

    def turn(self, queues: engine.Queues, campaigns: Campaigns) -> None:
        """Have wait again what the engine has given up, move what has waited long enough for its
        host, and bring to its queue what never came there. Raises ``StoreError``."""
        campaign = self._campaign
        _revive_dead(queues, campaigns, campaign.id)
        self._silent = _watch_hosts(
            queues, campaigns, campaign, self._host or this_host(), self._silent, self._note
        )
        under_way = campaigns.list_runs(campaign.id, states=("running", "stopping"))
        waiting = {self._host} if self._host else {*campaigns.list_open_hosts(campaign.id)}
        idle = waiting - {run.host for run in under_way}
        self._idle_turns = Counter({host: self._idle_turns[host] + 1 for host in idle})
        due = {host for host, turns in self._idle_turns.items() if _is_due(turns)}
        if due:
            _enqueue(campaigns, queues, campaign.id, due)


def _is_due(idle_turns: int) -> bool:
    """After ``IDLE_TURNS``, and twice, four, eight times as many: a host can be away for days."""
    times, rest = divmod(idle_turns, IDLE_TURNS)
    return rest == 0 and times.bit_count() == 1


@contextmanager
def _tending_all(place: str | Path, host: str, note: Callable[[str], None]) -> Iterator[None]:
    """Look after all campaigns that are not over, in a thread."""
    over = threading.Event()

    def tend() -> None:
        tended: dict[str, Tending] = {}
        told: set[str] = set()
        while not over.wait(TEND_S):
            # A store that is away is told of by who looks after the runs.
            with suppress(StoreError), opened(place, most_connections=0) as campaigns:
                found = campaigns.list_open_ids()
                tended = {id: tended[id] for id in found if id in tended}
                if found:
                    with engine.open_queues(place) as queues:
                        for id in found:
                            try:
                                if id not in tended:
                                    tended[id] = Tending(campaigns.find(id), note, host)
                                tended[id].turn(queues, campaigns)
                            except StoreError:
                                raise
                            except MobilekitError as error:
                                # As one that another mobilekit began: the others go on.
                                if id not in told:
                                    told.add(id)
                                    note(f"{id} is not looked after here: {error}")

    thread = threading.Thread(target=tend, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(5)


def _revive_dead(queues: engine.Queues, campaigns: Campaigns, campaign_id: str) -> None:
    """What the engine has given up, and nobody has stopped, waits again."""
    for run in campaigns.begin_anew(queues.find_dead(campaign_id)):
        found = campaigns.find_run(run.campaign, run.key)
        if found is not None:
            queues.add([waiting_of(*found)])


def _watch_hosts(
    queues: engine.Queues,
    campaigns: Campaigns,
    campaign: Campaign,
    here: str,
    told: set[str],
    note: Callable[[str], None],
) -> set[str]:
    """Tell of hosts that have work and give no sign, and move what has waited long enough."""
    alive = {each.info.name: each for each in campaigns.list_agents()}
    silent: set[str] = set()
    for host in campaigns.list_open_hosts(campaign.id):
        agent = alive.get(host)
        if host == here or (agent is not None and agent.is_alive):
            continue
        silent.add(host)
        if host not in told:
            since = (
                "is not there" if agent is None else f"gives no sign since {agent.silent_s:.0f} s"
            )
            note(
                f"{host} {since}: its runs wait. `mobilekit agent --name {host}` there, or "
                f"`mobilekit campaign move {campaign.id} --from {host}`."
            )
        after_s = campaign.plan.move_after_s
        if after_s is not None and agent is not None and agent.silent_s > after_s:
            _move(queues, campaigns, campaign, host, None, note)
    return silent


def _move(
    queues: engine.Queues,
    campaigns: Campaigns,
    campaign: Campaign,
    source: str,
    target: str | None,
    note: Callable[[str], None],
) -> int | None:
    alive = [
        each.info
        for each in campaigns.list_agents()
        if each.is_alive and each.info.name != source and target in (None, each.info.name)
    ]
    offers = {offer.phone: (each.name, offer) for each in alive for offer in each.offers}
    # A phone of which its host alone knows, such as a virtual one, goes to one of the same name.
    by_device = {offer.device: (each.name, offer) for each in alive for offer in each.offers}
    old: list[RunId] = []
    new = []
    for run, placed in campaigns.iterate_open(campaign.id, [source]):
        shared = offers.get(placed.phone)
        found = shared or (
            by_device.get(placed.run.device) if placed.phone.startswith(f"{source}/") else None
        )
        if found is None:
            continue
        host, offer = found
        there = _placed_there(placed, host, offer, campaign)
        if there is None:
            continue
        run_id = RunId(campaign.id, run.key, run.attempt)
        again = campaigns.move(run_id, there)
        if again is not None:
            old.append(run_id)
            moved, _ = campaigns.find_run(again.campaign, again.key) or (run, placed)
            new.append(waiting_of(moved, there))
    if not new:
        return None
    queues.add(new)
    queues.drop(old)
    note(f"{len(new)} runs of {source} go to {', '.join(sorted({each.host for each in new}))}.")
    return len(new)


def _placed_there(
    placed: PlacedRun, host: str, offer: Offer, campaign: Campaign
) -> PlacedRun | None:
    """``None`` for a run whose model only the computer has that planned it: nothing was exported
    for others."""
    if placed.artifact is None and host != campaign.planned_on:
        return None
    return replace(
        placed,
        host=host,
        phone=offer.phone,
        computes_here=offer.computes_here,
        run=replace(placed.run, device=offer.device),
    )


def _enqueue(
    campaigns: Campaigns, queues: engine.Queues, campaign_id: str, hosts: Set[str] | None = None
) -> None:
    """``hosts``: only what waits for them."""
    queues.add(
        waiting_of(run, placed)
        for run, placed in campaigns.iterate_open(campaign_id, hosts)
        if run.state == "queued"
    )
