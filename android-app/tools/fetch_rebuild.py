"""Fetches a native runtime that its publisher does not offer in the registries at hand.

    python3 fetch_rebuild.py onnxruntime|executorch DIRECTORY

What is fetched is a **third party's copy or rebuild**, pinned here by version and by the SHA-256 of
every file that is taken from it. The npm client does the fetching. Files that are there already
with the right hash are left alone.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

# Package, and for each file taken: its path in the package, where it goes, its SHA-256.
REBUILDS = {
    # Microsoft's Android build of ONNX Runtime 1.29.0 (MIT), as the Unity plugin by Koki Ibukuro
    # (MIT) carries it.
    "onnxruntime": (
        "com.github.asus4.onnxruntime@0.4.9",
        [
            (
                "package/Plugins/Android/onnxruntime.aar",
                "onnxruntime.aar",
                "98cddbac92640b4a6af72a03c42e0491851f366d3da66bbaeb5dd66310946cf2",
            ),
        ],
    ),
    # ExecuTorch (BSD-3-Clause) with XNNPACK (BSD-3-Clause), built by Software Mansion for
    # react-native-executorch (MIT). It has no 32-bit library.
    "executorch": (
        "react-native-executorch@0.9.3",
        [
            (
                "package/android/libs/classes.jar",
                "classes.jar",
                "d6b63816ac0831759ee79835ee1546191551bc0b58ac8f85396b8a6d121320b1",
            ),
            (
                "package/third-party/android/libs/executorch/arm64-v8a/libexecutorch.so",
                "jni/arm64-v8a/libexecutorch.so",
                "1de9b8f3ab0ba711aeddc76516554c80a82814e5c3a8f36a0dcfdfb6be069120",
            ),
            (
                "package/third-party/android/libs/executorch/x86_64/libexecutorch.so",
                "jni/x86_64/libexecutorch.so",
                "2fd1d48f45259a73a12cd8ec4aa42fffa70f27d383254b86576c899eb1d59e57",
            ),
        ],
    ),
}


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def main(name: str, directory: Path) -> None:
    package, files = REBUILDS[name]
    wanted = {member: (directory / place, digest) for member, place, digest in files}
    if all(path.is_file() and sha256(path) == digest for path, digest in wanted.values()):
        return
    if shutil.which("npm") is None:
        raise SystemExit(
            f"{package} comes by way of npm, which is not installed. Install it, leave the engine "
            f"out (-Dwithout-{name}), or take the publisher's own (-Dnatives=publisher)."
        )
    print(f"fetching {package}: a third party's rebuild of {name}")
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            ["npm", "pack", "--silent", "--pack-destination", scratch, package],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (archive,) = Path(scratch).glob("*.tgz")
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.name not in wanted:
                    continue
                path, digest = wanted[member.name]
                path.parent.mkdir(parents=True, exist_ok=True)
                aside = path.with_name(path.name + ".part")
                with tar.extractfile(member) as source, aside.open("wb") as target:
                    shutil.copyfileobj(source, target)
                if sha256(aside) != digest:
                    raise SystemExit(f"{member.name} of {package} is not the file that is pinned")
                aside.replace(path)
    missing = [member for member, (path, _) in wanted.items() if not path.is_file()]
    if missing:
        raise SystemExit(f"{package} has no {', '.join(missing)}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
