"""What an energy run cannot do without is looked for before its networks are exported."""

from contextlib import contextmanager

import pytest
from examples import device_info, measured
from msgspec.structs import replace
from recordings import state_of

from mobilekit.cli.options import DeviceOptions, RunOptions, deploy_options
from mobilekit.errors import DeviceError, UsageError
from mobilekit.flow import energy
from mobilekit.flow.energy import Confirmation, measure_energy

OPTIONS = deploy_options("nin", DeviceOptions(device="nexus7"), RunOptions())
PHONE = replace(state_of(measured()), info=device_info(virtual=False))


class TooLateError(Exception):
    """The export has begun."""


class EmptyStore:
    """Nothing is known of any gauge."""

    def read_gauge(self, gauge_key):
        return None


def no_terminal():
    raise UsageError("There is no terminal", fix="-")


def measure_on(monkeypatch, state, check):
    @contextmanager
    def prepare_all(options, store, reporter, *, check):
        check(state)
        raise TooLateError
        yield

    monkeypatch.setattr(energy, "prepare_all", prepare_all)
    measure_energy(
        (OPTIONS,),
        EmptyStore(),
        None,
        target_error=None,
        sync_pattern=False,
        confirm=Confirmation(check, ask=no_terminal),
        on_measured=None,
    )


def test_a_terminal_is_looked_for_where_it_will_be_needed(monkeypatch):
    """A pilot of minutes would come before the question; a virtual phone needs no answer."""
    with pytest.raises(UsageError, match="no terminal"):
        measure_on(monkeypatch, PHONE, no_terminal)
    virtual = replace(PHONE, info=device_info(virtual=True))
    for state, check in ((PHONE, lambda: None), (virtual, no_terminal)):
        with pytest.raises(TooLateError):
            measure_on(monkeypatch, state, check)


def test_a_battery_of_which_nothing_is_known_is_refused_at_once(monkeypatch):
    """No energy could be told from it."""
    with pytest.raises(DeviceError, match="Nothing is known"):
        measure_on(monkeypatch, replace(PHONE, profile=None), lambda: None)
