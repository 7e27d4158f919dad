"""The packages that are installed on the phone, kept in its directory."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from mobilekit import __version__
from mobilekit.contract.codec import Record, decode, encode_pretty
from mobilekit.contract.protocol import PACKAGE
from mobilekit.virtual.apk import ApkError, ApkInfo, read_apk
from mobilekit.virtual.files import PhoneFiles

COMPANION_PATH = "/system/app/MobilekitBench/MobilekitBench.apk"
FIRST_USER_ID = 10100


class InstalledPackage(Record, frozen=True):
    name: str
    version_code: int
    version_name: str | None
    debuggable: bool
    path: str
    user_id: int
    certificate_sha256: str | None = None
    """``None``: of the phone itself, or not signed."""


class PackageList(Record, frozen=True):
    packages: tuple[InstalledPackage, ...]


class Packages:
    """Installs and removes packages. The companion comes preinstalled: it is this program."""

    def __init__(self, state: Path, root: Path, files: PhoneFiles, abi: str) -> None:
        self._state = state
        self._root = root
        self._files = files
        self._abi = abi
        self._installed: dict[str, InstalledPackage] = {}
        if state.exists():
            kept: PackageList = decode(state.read_bytes(), PackageList, source=str(state))
            self._installed = {package.name: package for package in kept.packages}
        built_in = self._installed.get(PACKAGE)
        if not state.exists() or (built_in is not None and built_in.path == COMPANION_PATH):
            self._add(_companion())

    @property
    def all(self) -> list[InstalledPackage]:
        return [self._installed[name] for name in sorted(self._installed)]

    def get(self, name: str) -> InstalledPackage | None:
        return self._installed.get(name)

    def install(self, apk: Path, *, downgrade: bool, replace_old: bool) -> InstalledPackage:
        """Install the APK in a file of this computer, which is moved. Raises ``ApkError``."""
        with apk.open("rb") as file:
            info = read_apk(file)
        old = self._installed.get(info.package)
        if old is not None and not replace_old:
            raise ApkError(
                "INSTALL_FAILED_ALREADY_EXISTS",
                f"Attempt to re-install {info.package} without first uninstalling.",
            )
        if old is not None and info.version_code < old.version_code and not downgrade:
            raise ApkError(
                "INSTALL_FAILED_VERSION_DOWNGRADE",
                f"Downgrade detected: Update version code {info.version_code} is older than "
                f"current {old.version_code}",
            )
        if (
            old is not None
            and None not in (old.certificate_sha256, info.certificate_sha256)
            and old.certificate_sha256 != info.certificate_sha256
        ):
            raise ApkError(
                "INSTALL_FAILED_UPDATE_INCOMPATIBLE",
                f"Package {info.package} signatures do not match the previously installed version; "
                "ignoring!",
            )
        if info.abis and self._abi not in info.abis:
            raise ApkError(
                "INSTALL_FAILED_NO_MATCHING_ABIS", "Failed to extract native libraries, res=-113"
            )
        package = self._describe(info, old)
        place = self._root / package.path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        apk.replace(place)
        self._add(package)
        return package

    def age(self, name: str) -> None:
        """Make an installed package one of an older version."""
        package = self._installed.get(name)
        if package is not None:
            self._add(replace(package, version_code=1, version_name="0.0.1"))

    def uninstall(self, name: str) -> bool:
        """Remove the package and its data; false if there is none."""
        package = self._installed.pop(name, None)
        if package is None:
            return False
        if package.path != COMPANION_PATH:
            apk = self._root / package.path.lstrip("/")
            apk.unlink(missing_ok=True)
            apk.parent.rmdir()
        data = f"/sdcard/Android/data/{name}"
        if self._files.is_directory(data):
            self._files.remove_tree(data)
        self._save()
        return True

    def clear(self, name: str) -> bool:
        """Remove the package's data; false if there is no such package."""
        if name not in self._installed:
            return False
        files = f"/sdcard/Android/data/{name}/files"
        if self._files.is_directory(files):
            self._files.remove_tree(files)
        self._files.make_directories(files)
        return True

    def _describe(self, info: ApkInfo, old: InstalledPackage | None) -> InstalledPackage:
        used = [package.user_id for package in self._installed.values()]
        return InstalledPackage(
            name=info.package,
            version_code=info.version_code,
            version_name=info.version_name,
            debuggable=info.debuggable,
            path=f"/data/app/{info.package}-1/base.apk",
            user_id=old.user_id if old else max([FIRST_USER_ID, *used]) + 1,
            certificate_sha256=info.certificate_sha256,
        )

    def _add(self, package: InstalledPackage) -> None:
        self._installed[package.name] = package
        # As Android makes it: this is where the companion's output goes.
        self._files.make_directories(f"/sdcard/Android/data/{package.name}/files")
        self._save()

    def _save(self) -> None:
        aside = self._state.with_suffix(".new")
        aside.write_bytes(encode_pretty(PackageList(packages=tuple(self.all))))
        aside.replace(self._state)


def _companion() -> InstalledPackage:
    major, minor, patch = (int(part) for part in __version__.split(".")[:3])
    return InstalledPackage(
        name=PACKAGE,
        version_code=major * 10000 + minor * 100 + patch,
        version_name=__version__,
        debuggable=False,
        path=COMPANION_PATH,
        user_id=FIRST_USER_ID,
    )
