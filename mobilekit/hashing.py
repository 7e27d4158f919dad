"""What a file is known by: its content's hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

_CHUNK_BYTES = 1 << 20


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal; raises ``OSError``."""
    return _file_hash(path, hashlib.sha256())


def file_md5(path: Path) -> str:
    """The MD5, which every phone can tell, of a file that was copied, in hexadecimal: against
    accidents only. Raises ``OSError``."""
    return _file_hash(path, hashlib.md5(usedforsecurity=False))


def bytes_md5(data: bytes) -> str:
    """As ``file_md5``."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _file_hash(path: Path, digest: hashlib._Hash) -> str:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
