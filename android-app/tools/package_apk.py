"""Makes the APKs of what Maven has compiled, one for each ABI: shrinks it to dex, packs it with the
engines' native libraries, aligned so that Android maps them in place, and signs it.

The key is the one of builds from source, or the one that the environment names: see README.md.
"""

from __future__ import annotations

import argparse
import os
import struct
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

TOOLS = Path(__file__).parent
PAGE_BYTES = 16384
KEY_VARIABLE, PASSWORD_VARIABLE = "MOBILEKIT_SIGNING_KEY", "MOBILEKIT_SIGNING_PASSWORD"
ALIGNMENT_FIELD = 0xD935
"""Android's extra field for padding, as zipalign and apksig write it."""


def shrink(target: Path, jars: list[Path], min_sdk: str) -> Path:
    """R8: one dex of what is used."""
    out = target / "dex.zip"
    subprocess.run(
        [
            *("java", "-cp", target / "tools/r8.jar", "com.android.tools.r8.R8", "--release"),
            *("--min-api", min_sdk, "--output", out, "--pg-conf", TOOLS / "r8.pro"),
            # The first has android.*, and no java.*.
            *("--lib", target / "tools/android-all.jar", "--lib", java_home()),
            *jars,
        ],
        check=True,
    )
    return out


def java_home() -> str:
    properties = subprocess.run(
        ["java", "-XshowSettings:properties", "-version"],
        check=True,
        capture_output=True,
        encoding="utf-8",
    ).stderr
    (line,) = [line for line in properties.splitlines() if line.strip().startswith("java.home")]
    return line.partition("=")[2].strip()


def add(apk: zipfile.ZipFile, name: str, data: bytes, *, align: int = 0) -> None:
    """Add an entry; ``align`` stores it as it is, its bytes beginning at such a multiple."""
    entry = zipfile.ZipInfo(name, date_time=(1981, 1, 1, 0, 0, 0))
    entry.external_attr = 0o644 << 16
    if align:
        start = apk.fp.tell() + 30 + len(name.encode()) + 6
        padding = -start % align
        entry.extra = struct.pack("<HHH", ALIGNMENT_FIELD, 2 + padding, align) + bytes(padding)
    else:
        entry.compress_type = zipfile.ZIP_DEFLATED
    apk.writestr(entry, data)


def pack(out: Path, resources: Path, dex: Path, libraries: list[tuple[str, Path]]) -> None:
    with zipfile.ZipFile(out, "w") as apk:
        with zipfile.ZipFile(resources) as source:
            for name in source.namelist():
                # Android maps the table of resources too.
                add(apk, name, source.read(name), align=4 if name == "resources.arsc" else 0)
        with zipfile.ZipFile(dex) as source:
            for name in source.namelist():
                if name.endswith(".dex") or name.startswith("META-INF/services/"):
                    add(apk, name, source.read(name))
        for name, path in libraries:
            add(apk, name, path.read_bytes(), align=PAGE_BYTES)


def native_libraries(runtimes: list[Path], abi: str) -> list[tuple[str, Path]]:
    found = {
        f"lib/{abi}/{path.name}": path
        for runtime in runtimes
        for path in sorted((runtime / "jni" / abi).glob("*.so"))
    }
    return sorted(found.items())


class SigningKey(NamedTuple):
    path: Path
    password: str


SOURCE_BUILD_KEY = SigningKey(TOOLS.parent / "source-build.p12", "mobilekit")
"""Public, and the same in every checkout, so that a build updates another computer's. It proves
nothing about who has built the app."""


def choose_key(environment: Mapping[str, str]) -> SigningKey:
    """A release's own key by the environment, else that of builds from source."""
    path, password = environment.get(KEY_VARIABLE), environment.get(PASSWORD_VARIABLE)
    if not path and not password:
        return SOURCE_BUILD_KEY
    if not path or not password:
        raise SystemExit(
            f"Set both {KEY_VARIABLE}, a PKCS12 or JKS file with one key, and {PASSWORD_VARIABLE}; "
            "or neither, for the public key of builds from source."
        )
    # The build runs in a folder of its own.
    if not Path(path).is_absolute():
        raise SystemExit(f"{KEY_VARIABLE}: {path} is no absolute path")
    if not Path(path).is_file():
        raise SystemExit(f"{KEY_VARIABLE}: there is no file {path}")
    return SigningKey(Path(path), password)


def sign(target: Path, key: SigningKey, min_sdk: str, unsigned: Path, apk: Path) -> None:
    done = subprocess.run(
        [
            *("java", "-cp", target / "tools/apksig.jar", TOOLS / "SignApk.java"),
            *(key.path, min_sdk, unsigned, apk),
        ],
        # Not an argument, which every user of the computer could see.
        env={**os.environ, PASSWORD_VARIABLE: key.password},
    )
    if done.returncode != 0:
        raise SystemExit(f"{apk.name} was not signed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--jar", type=Path, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--min-sdk", required=True)
    parser.add_argument("--abis", required=True)
    for engine in ("onnxruntime", "litert", "executorch"):
        parser.add_argument(f"--{engine}", help="its unpacked AAR; empty: not in this APK")
    options = parser.parse_args()

    target: Path = options.target
    key = choose_key(os.environ)
    runtimes = [Path(at) for at in (options.onnxruntime, options.litert, options.executorch) if at]
    classpath = (target / "runtime.classpath").read_text(encoding="utf-8").strip()
    jars = [options.jar, *(Path(jar) for jar in classpath.split(os.pathsep))]
    if options.onnxruntime:
        # The one engine whose own classes are not in its module's jar: the JVM has another build.
        jars.append(Path(options.onnxruntime) / "classes.jar")

    dex = shrink(target, jars, options.min_sdk)
    # Those of another build are no longer what this checkout makes.
    for stale in target.glob("mobilekit-bench-*.apk"):
        stale.unlink()
    unsigned = target / "unsigned.apk"
    for abi in options.abis.split(","):
        pack(unsigned, target / "resources.apk", dex, native_libraries(runtimes, abi))
        apk = target / f"mobilekit-bench-{options.version}-{abi}.apk"
        sign(target, key, options.min_sdk, unsigned, apk)
        print(f"{apk}: {apk.stat().st_size:,} bytes")
    unsigned.unlink()


if __name__ == "__main__":
    main()
