"""Android packages made by hand, as small as a virtual phone takes them."""

import io
import struct
import zipfile

NONE = 0xFFFFFFFF
ATTRIBUTE_IDS = {"versionCode": 0x0101021B, "versionName": 0x0101021C, "debuggable": 0x0101000F}


def make_manifest(package="com.example.app", code=7, name="1.2", *, debuggable=True, utf8=False):
    """A binary XML written by hand: ``<manifest ...><application .../></manifest>``."""
    strings = [*ATTRIBUTE_IDS, "package", "manifest", "application", package, name]
    encoded = []
    for text in strings:
        if utf8:
            data = text.encode()
            encoded.append(bytes([len(text), len(data)]) + data + b"\0")
        else:
            encoded.append(struct.pack("<H", len(text)) + text.encode("utf-16-le") + b"\0\0")
    offsets = [sum(map(len, encoded[:index])) for index in range(len(encoded))]
    data = b"".join(encoded)
    data += bytes(-len(data) % 4)
    start = 28 + 4 * len(strings)
    pool = struct.pack("<IIIII", len(strings), 0, 0x100 if utf8 else 0, start, 0)
    pool += struct.pack(f"<{len(strings)}I", *offsets) + data
    ids = struct.pack(f"<{len(ATTRIBUTE_IDS)}I", *ATTRIBUTE_IDS.values())

    def attribute(key, kind, value):
        raw = value if kind == 3 else NONE
        return struct.pack("<IIIHBBI", NONE, strings.index(key), raw, 8, 0, kind, value)

    def element(tag, attributes):
        body = struct.pack("<IIHHHHHH", NONE, strings.index(tag), 20, 20, len(attributes), 0, 0, 0)
        return chunk(0x0102, struct.pack("<II", 1, NONE) + body + b"".join(attributes), 16)

    def chunk(kind, body, header_size):
        return struct.pack("<HHI", kind, header_size, 8 + len(body)) + body

    chunks = [
        chunk(0x0001, pool, 28),
        chunk(0x0180, ids, 8),
        element(
            "manifest",
            [
                attribute("versionCode", 0x10, code),
                attribute("versionName", 3, len(strings) - 1),
                attribute("package", 3, len(strings) - 2),
            ],
        ),
        element("application", [attribute("debuggable", 0x12, NONE)] if debuggable else []),
    ]
    return chunk(0x0003, b"".join(chunks), 8)


def sign(apk, certificate):
    """With the signing block of scheme v2, in which only the certificate is filled in."""

    def prefixed(data):
        return struct.pack("<I", len(data)) + data

    signed_data = prefixed(b"") + prefixed(prefixed(certificate)) + prefixed(b"")
    signer = prefixed(prefixed(signed_data) + prefixed(b"") + prefixed(b""))
    value = struct.pack("<I", 0x7109871A) + prefixed(signer)
    pairs = struct.pack("<QI", 4, 0x42726577) + struct.pack("<Q", len(value)) + value
    size = struct.pack("<Q", len(pairs) + 24)
    block = size + pairs + size + b"APK Sig Block 42"
    (directory_at,) = struct.unpack_from("<I", apk, len(apk) - 6)
    end = apk[-22:-6] + struct.pack("<I", directory_at + len(block)) + apk[-2:]
    return apk[:directory_at] + block + apk[directory_at:-22] + end


def make_apk(manifest, abis=(), padding_bytes=0):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("AndroidManifest.xml", manifest)
        archive.writestr("classes.dex", b"dex\n035")
        archive.writestr("assets/padding", bytes(padding_bytes))
        for abi in abis:
            archive.writestr(f"lib/{abi}/libx.so", b"\x7fELF")
    return buffer.getvalue()
