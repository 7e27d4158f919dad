"""Virtual phones that run, as JSON documents."""

from __future__ import annotations

from mobilekit.contract.codec import Record
from mobilekit.virtual.service import RunningPhone


# History: 1: first with a schema.
class VirtualPhoneDocument(
    Record, frozen=True, tag_field="schema", tag="mobilekit.virtual-phone/1"
):
    """``virtual start``."""

    phone: RunningPhone
    adb_server_port: int


# History: 1: first with a schema.
class VirtualPhonesDocument(
    Record, frozen=True, tag_field="schema", tag="mobilekit.virtual-phones/1"
):
    """``virtual list``."""

    phones: tuple[RunningPhone, ...]
