"""Makes the APK of what Maven has compiled: shrinks it to dex, packs it with the engines' native
libraries, aligned so that Android maps them in place, and signs it with a key made here.
"""

from __future__ import annotations

import argparse
import os
import struct
import subprocess
import zipfile
from pathlib import Path

TOOLS = Path(__file__).parent
PAGE_BYTES = 16384
KEY_PASSWORD = "mobilekit"
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


def native_libraries(runtimes: list[Path], abis: list[str]) -> list[tuple[str, Path]]:
    found = {
        f"lib/{abi}/{path.name}": path
        for runtime in runtimes
        for abi in abis
        for path in sorted((runtime / "jni" / abi).glob("*.so"))
    }
    return sorted(found.items())


def make_key(key: Path) -> None:
    if key.exists():
        return
    print(f"making a signing key of this computer's: {key.name}")
    subprocess.run(
        [
            *("keytool", "-genkeypair", "-keystore", key, "-storetype", "PKCS12"),
            *("-storepass", KEY_PASSWORD, "-alias", "mobilekit", "-keyalg", "RSA"),
            *("-keysize", "3072", "-validity", "10000", "-dname", "CN=mobilekit local build"),
        ],
        check=True,
    )
    key.chmod(0o600)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--jar", type=Path, required=True)
    parser.add_argument("--min-sdk", required=True)
    parser.add_argument("--abis", required=True)
    parser.add_argument("--key", type=Path, required=True)
    for engine in ("onnxruntime", "litert", "executorch"):
        parser.add_argument(f"--{engine}", help="its unpacked AAR; empty: not in this APK")
    options = parser.parse_args()

    target: Path = options.target
    runtimes = [Path(at) for at in (options.onnxruntime, options.litert, options.executorch) if at]
    classpath = (target / "runtime.classpath").read_text(encoding="utf-8").strip()
    jars = [options.jar, *(Path(jar) for jar in classpath.split(os.pathsep))]
    if options.onnxruntime:
        # The one engine whose own classes are not in its module's jar: the JVM has another build.
        jars.append(Path(options.onnxruntime) / "classes.jar")

    dex = shrink(target, jars, options.min_sdk)
    unsigned = target / "unsigned.apk"
    libraries = native_libraries(runtimes, options.abis.split(","))
    pack(unsigned, target / "resources.apk", dex, libraries)
    make_key(options.key)
    apk = target / "mobilekit-bench.apk"
    subprocess.run(
        [
            *("java", "-cp", target / "tools/apksig.jar", TOOLS / "SignApk.java"),
            *(options.key, KEY_PASSWORD, options.min_sdk, unsigned, apk),
        ],
        check=True,
    )
    unsigned.unlink()
    print(f"{apk}: {apk.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
