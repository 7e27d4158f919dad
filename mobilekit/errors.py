"""Every failure that mobilekit expects: what happened, the facts, what to try, and an exit code.

An expected failure is raised as one of these classes and reaches the user as one paragraph,
never as a traceback. The tree follows the stages of a deploy, so that a caller can catch a
stage (``ExportError``) without knowing each way it can fail.
"""

from __future__ import annotations

from mobilekit.plain import plain

LONGEST_TEXT = 4000
"""Of what happened and its facts, in characters: an engine's own words may take a page."""


class MobilekitError(Exception):
    """An expected failure.

    ``what`` says what happened, ``facts`` are the things that a person needs to act on it
    (serial, command, path), and ``fix`` is what to try.
    """

    exit_code = 1

    def __init__(self, what: str, *, fix: str, **facts: object) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix
        self.facts = {name: str(value) for name, value in facts.items()}

    @property
    def kind(self) -> str:
        """The failure's stable name, as in ``--json`` output."""
        return type(self).__name__

    def __str__(self) -> str:
        facts = ", ".join(
            f"{name.replace('_', ' ')}: {value}" for name, value in self.facts.items()
        )
        happened = f"{self.what}{f' ({facts})' if facts else ''}"
        if len(happened) > LONGEST_TEXT:
            happened = f"{happened[:LONGEST_TEXT]} [and {len(happened) - LONGEST_TEXT} more]"
        # One paragraph, whatever a phone or a file has put into it.
        return plain(f"{happened}. {self.fix}")


class UsageError(MobilekitError):
    """The command line asks for something that does not exist or does not fit."""

    exit_code = 2


class UnknownModelError(UsageError):
    """No model of that name."""


class ModelFileError(UsageError):
    """A model file that does not follow the convention, or whose own code fails."""


class WeightsError(UsageError):
    """A weights file that cannot be read safely or does not fit the network."""


class DataError(UsageError):
    """Examples or labels that cannot be read, or that do not fit the network."""


class ProfileError(UsageError):
    """A device profile that does not parse or contradicts itself."""


class MeterFileError(UsageError):
    """A meter's file that cannot be read as it is said to be."""


class CampaignFileError(UsageError):
    """A campaign's file that cannot be read as one."""


class MeterTraceError(MobilekitError):
    """A meter's trace from which no energy can be told: no clear load, a gap, an overload."""


class ExportError(MobilekitError):
    """A network that cannot be turned into an artifact."""


class DeviceError(MobilekitError):
    """No such device, or not exactly one, or one that is not ready."""

    exit_code = 3


class InUseError(DeviceError):
    """Another mobilekit is using the phone."""


class DisconnectedError(MobilekitError):
    """The device or the adb server went away, or stopped answering, in the middle of something."""

    exit_code = 4


class TimedOutError(DisconnectedError):
    """What is there did not answer in time: it may be busy, or asleep."""


class AdbServerError(MobilekitError):
    """No adb server can be reached or started."""

    exit_code = 3


class PhoneError(MobilekitError):
    """The phone answered, and said no: full storage, a missing command, a refused path."""


class AppError(PhoneError):
    """The companion app is missing, of another version, or did not start."""


class ProtocolError(MobilekitError):
    """A message of the host-app contract that breaks it; the message names the field."""


class OtherVersionError(ProtocolError):
    """A message of another version of the contract."""


class RunFailedError(MobilekitError):
    """The companion took the request and failed; what it measured before that is in the store."""


class StoreError(MobilekitError):
    """The results database cannot be opened, or is of a later schema version."""


class DamagedResultError(StoreError):
    """A document in the results database that is not what this version writes there: ``document``
    is it."""

    def __init__(self, what: str, *, document: bytes, fix: str, **facts: object) -> None:
        super().__init__(what, fix=fix, **facts)
        self.document = document


class UnsavedError(StoreError):
    """A measurement that neither the results database nor any file took: ``document`` is it."""

    def __init__(self, what: str, *, document: bytes, fix: str, **facts: object) -> None:
        super().__init__(what, fix=fix, **facts)
        self.document = document


class UnlikeRunsError(MobilekitError):
    """Runs that are too unlike to be set side by side; both are in the store."""


class UnreliableError(MobilekitError):
    """Figures that must not be used: doubts under ``--strict``, a gauge that contradicts itself."""

    exit_code = 5


class CannotTellError(MobilekitError):
    """A prediction that nothing known allows: a core, a network or an engine never measured."""

    exit_code = 5


class DoesNotFitError(MobilekitError):
    """A network that does not keep within what was asked for."""

    exit_code = 6


class FaultsError(MobilekitError):
    """``doctor`` found faults; what it prints names each."""

    exit_code = 7


class SomeFailedError(MobilekitError):
    """A campaign is complete, and some of its runs failed."""

    exit_code = 8


class IncompleteError(MobilekitError):
    """A campaign of which runs have not taken place, and will not unless it is resumed."""

    exit_code = 9


class RegressedError(MobilekitError):
    """Runs are worse than their baseline by more than is allowed."""

    exit_code = 10


class StoppedError(MobilekitError):
    """A person ended the command from the keyboard."""

    exit_code = 130


class NothingFitsError(MobilekitError):
    """No way to compress a network keeps within the budget and the accuracy asked for."""

    exit_code = 11
