import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.phone.refusals import PROMPTS, REASONS, asks_on_its_screen, fix_of_refusal

DOCS = Path(__file__).parents[2] / "docs/devices.md"


@pytest.mark.parametrize(
    ("reason", "maker", "told"),
    [
        ("INSTALL_FAILED_ABORTED: User rejected permissions", "vivo", "Continue installing"),
        ("INSTALL_FAILED_ABORTED: User rejected permissions", "OPPO", "permission monitoring"),
        ("INSTALL_FAILED_ABORTED: User rejected permissions", "HUAWEI", "Monitor ADB app"),
        ("INSTALL_FAILED_ABORTED: User rejected permissions", "HONOR", "Monitor ADB app"),
        ("INSTALL_FAILED_ABORTED: User rejected permissions", "acme", "when the phone asks"),
        ("INSTALL_FAILED_USER_RESTRICTED: Install canceled by user", "Xiaomi", "Install via USB"),
        ("INSTALL_FAILED_USER_RESTRICTED: Install canceled by user", "Redmi", "Mi account"),
        ("INSTALL_FAILED_USER_RESTRICTED", "", "developer options"),
        ("INSTALL_FAILED_VERIFICATION_FAILURE", "samsung", "Verify apps over USB"),
        ("INSTALL_FAILED_VERIFICATION_FAILURE: Install not allowed for file", "realme", "Verify"),
        ("INSTALL_FAILED_VERIFICATION_TIMEOUT", "Google", "Verify apps over USB"),
        (
            "INSTALL_FAILED_UPDATE_INCOMPATIBLE: signatures do not match",
            "",
            "adb -s 0123 uninstall",
        ),
        ("INSTALL_FAILED_UPDATE_INCOMPATIBLE", "", "`mobilekit collect` fetches the results"),
        ("INSTALL_FAILED_UID_CHANGED", "", "adb -s 0123 uninstall"),
        ("INSTALL_FAILED_INSUFFICIENT_STORAGE", "", "Free space"),
        ("INSTALL_FAILED_MEDIA_UNAVAILABLE", "", "set-install-location"),
        ("INSTALL_FAILED_OLDER_SDK: Requires newer sdk version #23", "", "newer Android"),
        ("INSTALL_FAILED_CPU_ABI_INCOMPATIBLE", "", "MVN_FLAGS=-Dabis"),
        ("INSTALL_PARSE_FAILED_NO_CERTIFICATES: No signature", "", "not signed"),
        ("INSTALL_PARSE_FAILED_NOT_APK", "", "damaged"),
        ("INSTALL_FAILED_INTERNAL_ERROR: Permission Denied", "", "Restart"),
        ("INSTALL_FAILED_SOMETHING_ELSE", "", "by hand"),
    ],
)
def test_each_refusal_has_its_way_out(reason, maker, told):
    """Those that the virtual phone never gives, as well."""
    assert told in fix_of_refusal(reason, "0123", maker)


def test_who_asks_on_the_screen_is_known():
    """Whatever the case of its name, and under its other names."""
    assert asks_on_its_screen("VIVO") == PROMPTS["vivo"]
    assert asks_on_its_screen("POCO") == PROMPTS["xiaomi"]
    assert asks_on_its_screen("Google") is None


@given(st.text(), st.text())
def test_any_reason_of_any_maker_has_a_way_out(reason, maker):
    """A sentence with nothing left to fill in."""
    fix = fix_of_refusal(reason, "0123", maker)

    assert fix.endswith(".") or fix.endswith("with it.")
    assert "{" not in fix


def test_the_docs_have_every_reason():
    """In the table of refusals."""
    table = (
        DOCS.read_text(encoding="utf-8").partition("| Android's reason |")[2].partition("\n\n")[0]
    )

    assert set(re.findall(r"INSTALL_[A-Z_]+", table)) == set(REASONS)
