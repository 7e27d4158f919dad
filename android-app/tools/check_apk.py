"""Checks that each APK is what the README promises, with what Android itself looks at."""

from __future__ import annotations

import argparse
import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

TOOLS = Path(__file__).parent
PAGE_BYTES = 16384
ABIS_64 = ("arm64-v8a", "x86_64")
PROVIDERS = "META-INF/services/dev.mobilekit.bench.core.EngineProvider"
FOUR_KIB_PAGES = ("libtensorflowlite_jni.so",)
"""LiteRT's publisher offers no newer one in the registries at hand: it does not load on a phone
with 16 KiB pages, and a run says so. ExecuTorch and ONNX Runtime serve those."""


def data_offset(apk: zipfile.ZipFile, entry: zipfile.ZipInfo) -> int:
    apk.fp.seek(entry.header_offset + 26)
    name_length, extra_length = struct.unpack("<HH", apk.fp.read(4))
    return entry.header_offset + 30 + name_length + extra_length


def load_alignments(elf: bytes) -> list[int]:
    """Of the segments that are mapped."""
    if elf[:4] != b"\x7fELF":
        raise ValueError("not an ELF file")
    if elf[4] == 2:
        offset, field, width = struct.unpack_from("<Q", elf, 32)[0], 48, "<Q"
        size, count = struct.unpack_from("<HH", elf, 54)
    else:
        offset, field, width = struct.unpack_from("<I", elf, 28)[0], 28, "<I"
        size, count = struct.unpack_from("<HH", elf, 42)
    headers = [offset + index * size for index in range(count)]
    return [
        struct.unpack_from(width, elf, header + field)[0]
        for header in headers
        if struct.unpack_from("<I", elf, header)[0] == 1
    ]


def check_entries(path: Path) -> list[str]:
    problems = []
    with zipfile.ZipFile(path) as apk:
        if PROVIDERS not in apk.namelist():
            problems.append("no engine is declared, so the app will find none")
        for entry in apk.infolist():
            offset = data_offset(apk, entry)
            if entry.filename == "resources.arsc" and (entry.compress_type or offset % 4):
                problems.append("resources.arsc is compressed or not aligned to 4 bytes")
            if not entry.filename.endswith(".so"):
                continue
            if entry.compress_type or offset % PAGE_BYTES:
                problems.append(f"{entry.filename} is compressed or not aligned to {PAGE_BYTES}")
            _, abi, name = entry.filename.split("/")
            alignments = load_alignments(apk.read(entry))
            if abi in ABIS_64 and name not in FOUR_KIB_PAGES and min(alignments) < PAGE_BYTES:
                problems.append(f"{entry.filename} is linked for pages of {min(alignments)} bytes")
    return problems


def check_manifest(options: argparse.Namespace, apk: Path, abi: str) -> list[str]:
    def dump(*arguments: str) -> str:
        command = [options.aapt2, "dump", *arguments, apk]
        return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout

    badging = dump("badging")
    manifest = dump("xmltree", "--file", "AndroidManifest.xml")
    wanted = {
        "package name": r"package: name='dev\.mobilekit\.bench'",
        "versionName": rf"versionName='{re.escape(options.version)}'",
        "minSdkVersion": rf"(minSdkVersion|sdkVersion):'{options.min_sdk}'",
        "targetSdkVersion": rf"targetSdkVersion:'{options.target_sdk}'",
        "native code": rf"native-code: '{re.escape(abi)}'\n",
    }
    problems = [
        f"badging lacks {what}" for what, text in wanted.items() if not re.search(text, badging)
    ]
    if "application-debuggable" in badging:
        problems.append("the APK is debuggable: its timings would not be valid")
    if "android.permission.INTERNET" in badging:
        problems.append("the APK may use the network")
    if not re.search(r"E: profileable.*\n\s+A: \S*:shell\(\S+\)=true", manifest):
        problems.append("the APK is not profileable from the shell")
    if not re.search(r':permission\(\S+\)="android\.permission\.DUMP"', manifest):
        problems.append("the activity is not guarded")
    return problems


def check_signature(options: argparse.Namespace, apk: Path) -> list[str]:
    command = [
        *("java", "-cp", options.apksig, TOOLS / "VerifyApk.java"),
        *(options.min_sdk, apk),
    ]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    print(done.stdout.strip())
    return [] if done.returncode == 0 else [f"the signature is not valid: {done.stderr.strip()}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--aapt2", required=True)
    parser.add_argument("--apksig", required=True)
    parser.add_argument("--min-sdk", required=True)
    parser.add_argument("--target-sdk", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--abis", required=True)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    failed = False
    for abi in options.abis.split(","):
        apk = options.target / f"mobilekit-bench-{options.version}-{abi}.apk"
        problems = [
            *check_entries(apk),
            *check_manifest(options, apk, abi),
            *check_signature(options, apk),
        ]
        for problem in problems:
            print(f"{apk.name}: {problem}", file=sys.stderr)
        failed = failed or bool(problems)
        print(f"{apk.name}: {'wrong' if problems else 'aligned, guarded, profileable, signed'}")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
