"""Reads what an installer must know from an APK: binary ``AndroidManifest.xml``, and the signer.

Such a file is a tree of chunks, each with a type, the size of its header and its own size: a pool
of strings, a table that maps strings to the ids of Android's attributes, and the elements.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NoReturn

from msgspec.structs import replace

from mobilekit.contract.codec import Record

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
XML, STRING_POOL, RESOURCE_MAP, START_ELEMENT = 0x0003, 0x0001, 0x0180, 0x0102
UTF8_FLAG = 0x100
TYPE_STRING = 3
VERSION_CODE, VERSION_NAME, DEBUGGABLE = 0x0101021B, 0x0101021C, 0x0101000F
SIGNING_MAGIC, SCHEME_V2 = b"APK Sig Block 42", 0x7109871A
MAX_SIGNING_BYTES = 4 * 1024 * 1024
PACKAGE_NAME = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+")


class ApkError(Exception):
    """The package is refused; ``code`` is Android's name of the reason."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class ApkInfo(Record, frozen=True):
    package: str
    version_code: int
    version_name: str | None
    """``None`` when the manifest leaves it out or has it in a resource."""
    debuggable: bool
    abis: tuple[str, ...]
    """Of the native libraries inside; empty when there are none."""
    certificate_sha256: str | None = None
    """Of the certificate by APK Signature Scheme v2, unverified; ``None``: not signed so."""


def read_apk(file: BinaryIO) -> ApkInfo:
    """Raises ``ApkError``."""
    try:
        with zipfile.ZipFile(file) as archive:
            entry = archive.getinfo("AndroidManifest.xml")
            if entry.file_size > MAX_MANIFEST_BYTES:
                _refuse("manifest too large")
            manifest = archive.read(entry)
            names = archive.namelist()
            directory_at = archive.start_dir
    except (
        # An encrypted entry and a method that is not known are RuntimeErrors.
        *(zipfile.BadZipFile, KeyError, ValueError, RuntimeError, EOFError, OSError),
        *(struct.error, zlib.error),
    ) as error:
        raise ApkError(
            "INSTALL_PARSE_FAILED_NOT_APK", f"Failed to parse base.apk: {error}"
        ) from None
    abis = {name.split("/")[1] for name in names if re.fullmatch(r"lib/[^/]+/[^/]+\.so", name)}
    info = parse_manifest(manifest, tuple(sorted(abis)))
    try:
        certificate = _read_certificate(file, directory_at)
    except (struct.error, OSError) as error:
        raise ApkError(
            "INSTALL_PARSE_FAILED_NO_CERTIFICATES", f"Failed to collect certificates: {error}"
        ) from None
    digest = None if certificate is None else hashlib.sha256(certificate).hexdigest()
    return replace(info, certificate_sha256=digest)


def parse_manifest(data: bytes, abis: tuple[str, ...] = ()) -> ApkInfo:
    """Raises ``ApkError``."""
    try:
        elements = list(_elements(data))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        _refuse(str(error))
    if not elements or elements[0][0] != "manifest":
        _refuse("No <manifest> tag")
    manifest = elements[0][1]
    package = manifest.get("package")
    if not isinstance(package, str) or not PACKAGE_NAME.fullmatch(package):
        raise ApkError(
            "INSTALL_PARSE_FAILED_BAD_PACKAGE_NAME", f"Invalid manifest package: {package}"
        )
    code, name = manifest.get(VERSION_CODE, 0), manifest.get(VERSION_NAME)
    application = next((values for tag, values in elements if tag == "application"), {})
    if not isinstance(code, int):
        _refuse("versionCode is not a number")
    return ApkInfo(
        package=package,
        version_code=code,
        version_name=name if isinstance(name, str) else None,
        debuggable=bool(application.get(DEBUGGABLE, 0)),
        abis=abis,
    )


def _read_certificate(file: BinaryIO, directory_at: int) -> bytes | None:
    """The first signer's, from the block before the archive's directory: pairs of an id and a
    value, and the length of all of it before and behind them.

    Source: https://source.android.com/docs/security/features/apksigning/v2. Raises
    ``struct.error`` for a block that is cut off.
    """
    tail = struct.Struct("<Q16s")
    if directory_at < tail.size + 8:
        return None
    file.seek(directory_at - tail.size)
    size, magic = tail.unpack(file.read(tail.size))
    if magic != SIGNING_MAGIC:
        return None
    if not tail.size <= size <= min(MAX_SIGNING_BYTES, directory_at - 8):
        raise struct.error("a signing block of an impossible length")
    file.seek(directory_at - size)
    pairs = file.read(size - tail.size)
    while pairs:
        length, kind = struct.unpack_from("<QI", pairs)
        if not 4 <= length <= len(pairs) - 8:
            raise struct.error("a pair does not fit into the signing block")
        if kind == SCHEME_V2:
            signers, _ = _prefixed(pairs[12 : 8 + length])
            signed_data, _ = _prefixed(_prefixed(signers)[0])
            _digests, behind = _prefixed(signed_data)
            return _prefixed(_prefixed(behind)[0])[0]
        pairs = pairs[8 + length :]
    return None


def _prefixed(data: bytes) -> tuple[bytes, bytes]:
    """What follows its length, and what is behind that."""
    (length,) = struct.unpack_from("<I", data)
    if length > len(data) - 4:
        raise struct.error("a part does not fit into the signing block")
    return data[4 : 4 + length], data[4 + length :]


def _refuse(message: str) -> NoReturn:
    raise ApkError("INSTALL_PARSE_FAILED_MANIFEST_MALFORMED", message)


def _chunks(data: bytes, start: int) -> Iterator[tuple[int, int, bytes]]:
    """Type, size of the header, and all bytes of each chunk."""
    while start < len(data):
        kind, header_size, size = struct.unpack_from("<HHI", data, start)
        if not 8 <= header_size <= size <= len(data) - start:
            _refuse("a chunk does not fit into the file")
        yield kind, header_size, data[start : start + size]
        start += size


def _elements(data: bytes) -> Iterator[tuple[str, dict[str | int, str | int]]]:
    """Each start of an element: its name, and its attributes by Android's id or else by name."""
    file_kind, first, size = struct.unpack_from("<HHI", data)
    if file_kind != XML or first < 8 or size > len(data):
        _refuse("not a binary XML file")
    strings: list[str] = []
    ids: tuple[int, ...] = ()
    for kind, header_size, chunk in _chunks(data[:size], first):
        if kind == STRING_POOL:
            strings = _strings(chunk, header_size)
        elif kind == RESOURCE_MAP:
            ids = struct.unpack_from(f"<{(len(chunk) - header_size) // 4}I", chunk, header_size)
        elif kind == START_ELEMENT:
            name, start, stride, count = struct.unpack_from("<4xIHHH", chunk, header_size)
            attributes: dict[str | int, str | int] = {}
            for index in range(count):
                at = header_size + start + index * stride
                key, _raw, value_type, value = struct.unpack_from("<4xII3xBI", chunk, at)
                attributes[ids[key] if key < len(ids) and ids[key] else strings[key]] = (
                    strings[value] if value_type == TYPE_STRING else value
                )
            yield strings[name], attributes


def _strings(chunk: bytes, header_size: int) -> list[str]:
    count, _styles, flags, start = struct.unpack_from("<4I", chunk, 8)
    if count > len(chunk) // 4:
        _refuse("more strings than bytes")
    offsets = struct.unpack_from(f"<{count}I", chunk, header_size)
    read = _utf8_string if flags & UTF8_FLAG else _utf16_string
    return [read(chunk, start + offset) for offset in offsets]


def _utf8_string(chunk: bytes, at: int) -> str:
    """Two lengths, in characters and in bytes, of one byte or, from 128, of two."""
    at += 2 if chunk[at] & 0x80 else 1
    size, at = chunk[at], at + 1
    if size & 0x80:
        size, at = (size & 0x7F) << 8 | chunk[at], at + 1
    return chunk[at : at + size].decode("utf-8")


def _utf16_string(chunk: bytes, at: int) -> str:
    (length,) = struct.unpack_from("<H", chunk, at)
    at += 2
    if length & 0x8000:
        (low,) = struct.unpack_from("<H", chunk, at)
        length, at = (length & 0x7FFF) << 16 | low, at + 2
    return chunk[at : at + 2 * length].decode("utf-16-le")
