"""What a person does about a phone that refuses the companion app: pure functions.

Makers put prompts and checks of their own before an installation over USB, and name the refusal as
Android does.
"""

from __future__ import annotations

from mobilekit.contract.protocol import PACKAGE

PROMPTS = {
    "vivo": "Unlock the screen, and when the phone asks, tick that you know the risk and tap "
    "Continue installing, within ten seconds",
    "oppo": "Unlock the screen and allow the installation when the phone asks (it may ask for the "
    "password of your account); in its developer options, Disable permission monitoring may be "
    "needed as well",
    "xiaomi": "Switch on Install via USB in the phone's developer options, which needs a Mi "
    "account and a SIM card, then unlock the screen and tap Install within ten seconds",
    "huawei": "Unlock the screen and allow the installation when the phone asks, or switch off "
    "Monitor ADB app installs in its developer options",
    "meizu": "Unlock the screen and allow the installation when the phone asks",
}
"""What a maker's phones want before they install, by ``ro.product.manufacturer`` in small
letters."""
SAME_MAKER = {
    "iqoo": "vivo",
    "realme": "oppo",
    "oneplus": "oppo",
    "redmi": "xiaomi",
    "poco": "xiaomi",
    "honor": "huawei",
}
ANY_PROMPT = (
    "Unlock the screen and allow the installation when the phone asks; in the developer options, "
    "switch on Install via USB (Xiaomi), or off Monitor ADB app installs (Huawei, HONOR) or "
    "permission monitoring (OPPO, realme)"
)
AGAIN = "then run the command again."
UNINSTALL = (
    "`mobilekit collect` fetches the results of its runs, which go with it; "
    "`adb -s {serial} uninstall {package}` removes it; then run the command again."
)
MAKE_ANEW = (
    "make it anew with `make app`, install mobilekit's wheel anew, or name another with --apk."
)
OTHER_ABI = (
    "The app was built for other processors; build it for this one: `make app "
    "MVN_FLAGS=-Dabis=ABI`, where ABI is what `adb shell getprop ro.product.cpu.abi` says."
)
REASONS = {
    "INSTALL_FAILED_ABORTED": "{prompt}, " + AGAIN,
    "INSTALL_FAILED_USER_RESTRICTED": "{prompt}, " + AGAIN,
    "INSTALL_FAILED_VERIFICATION": "Switch off Verify apps over USB in the phone's developer "
    "options (where it is grey, Play Protect's scanning in the Play Store), " + AGAIN,
    "INSTALL_FAILED_VERSION_DOWNGRADE": "A newer companion app is there. " + UNINSTALL,
    "INSTALL_FAILED_UPDATE_INCOMPATIBLE": "The companion app that is there was signed with another "
    "key, as one of another origin is. " + UNINSTALL,
    "INSTALL_FAILED_ALREADY_EXISTS": "A companion app is there. " + UNINSTALL,
    "INSTALL_FAILED_UID_CHANGED": "What an earlier installation left is in the way. " + UNINSTALL,
    "INSTALL_FAILED_SHARED_USER_INCOMPATIBLE": "A companion app is there. " + UNINSTALL,
    "INSTALL_FAILED_INSUFFICIENT_STORAGE": "Free space on the phone, " + AGAIN,
    "INSTALL_FAILED_MEDIA_UNAVAILABLE": "Let the phone install apps on its own storage, not on a "
    "card: `adb -s {serial} shell pm set-install-location 1`, " + AGAIN,
    "INSTALL_FAILED_OLDER_SDK": "The companion app needs a newer Android: use another phone.",
    "INSTALL_FAILED_DEPRECATED_SDK_VERSION": "The file is of an old companion app: " + MAKE_ANEW,
    "INSTALL_FAILED_NO_MATCHING_ABIS": OTHER_ABI,
    "INSTALL_FAILED_CPU_ABI_INCOMPATIBLE": OTHER_ABI,
    "INSTALL_FAILED_TEST_ONLY": "The file is a build for tests: " + MAKE_ANEW,
    "INSTALL_FAILED_INVALID_APK": "The file is damaged or no APK: " + MAKE_ANEW,
    "INSTALL_PARSE_FAILED_NO_CERTIFICATES": "The file is not signed: " + MAKE_ANEW,
    "INSTALL_PARSE_FAILED": "The file is damaged or no APK: " + MAKE_ANEW,
    "INSTALL_FAILED_INTERNAL_ERROR": "Restart the phone, " + AGAIN,
}
"""By what Android's reason begins with; the first that fits counts."""


def asks_on_its_screen(manufacturer: str) -> str | None:
    """What a phone of that maker will want before it installs; ``None`` where none is known to."""
    return PROMPTS.get(_maker(manufacturer))


def fix_of_refusal(reason: str, serial: str, manufacturer: str) -> str:
    """What a person does about Android's reason not to install; ``manufacturer`` is
    ``ro.product.manufacturer``."""
    prompt = PROMPTS.get(_maker(manufacturer), ANY_PROMPT)
    for name, fix in REASONS.items():
        if reason.startswith(name):
            return fix.format(prompt=prompt, serial=serial, package=PACKAGE)
    return (
        f"{prompt}. If it is refused all the same, install the file by hand to see more: "
        f"`adb -s {serial} install -r` with it."
    )


def _maker(manufacturer: str) -> str:
    name = manufacturer.strip().lower()
    return SAME_MAKER.get(name, name)
