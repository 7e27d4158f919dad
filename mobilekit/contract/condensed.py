"""A condensed program: small to store and to send, expanded into the program before it is loaded.

An artifact's file may be one, whatever its format; it is told by its first eight bytes. Expanding
it gives the program byte for byte, so that a network runs as fast as it does from a plain file:
only its size and its time to load are others. All numbers are little-endian.

========  =====  ===========================================================================
offset    bytes
========  =====  ===========================================================================
0         8      ``MAGIC``
8         8      the program's size in bytes, at most ``MAX_PROGRAM_BYTES``
16        32     the program's SHA-256
48        4      the number of blocks
52               the blocks, one after the other, and nothing behind them
========  =====  ===========================================================================

A block is a head of 28 bytes and a zlib stream (RFC 1950), which ends where the block does. The
head is: kind (1 byte), bits (1), entries (2), rows (4), columns (4), the bytes of the program that
the block expands to (8), and the stream's length (8). Blocks expand to the program's bytes in their
order. What a kind does not use of its head is 0. Elements are float32.

- 0, plain: the stream holds the bytes themselves.
- 1, shared values (S. Han et al., "Deep Compression", ICLR 2016): ``entries`` values (1 to 256),
  then for each element the index of its value in ``bits`` bits (1 to 8), lowest bit first, filled
  up to a byte at the end.
- 2, sparse: a bit for each element, lowest bit first, filled up to a byte at the end; then the
  elements whose bit is set. The others are 0.
- 3, dictionary with sparse codes (S. Bhattacharya and N. Lane, "Sparsification and separation of
  deep learning layers for constrained resource inference on wearables", SenSys 2016): a matrix of
  ``rows`` x ``columns`` in C order, each column of which is a sum of ``bits`` (1 to 255) of
  ``entries`` atoms (1 to 65535). The stream holds a scale (float32), the atoms (``rows`` x
  ``entries`` of int8), for each column the indices of its atoms (each 1 byte, 2 where ``entries``
  is above 256), and for each column its codes (int8). An element is scale x sum of code x atom: the
  sum of integers is exact, the product is one of float64, rounded to float32. So every device
  expands to the same bytes.

No device believes a head: what a stream may expand to follows from the head, is looked at before
anything of that size is allocated, and a stream that is longer, shorter or damaged is an error.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from mobilekit.errors import ProtocolError

MAGIC = b"mkcond\r\n"
MAX_PROGRAM_BYTES = 2**31 - 1
HEAD = struct.Struct("<8sQ32sI")
BLOCK = struct.Struct("<BBHIIQQ")
PLAIN, SHARED, SPARSE, DICTIONARY = range(4)
_ELEMENT = np.dtype("<f4")
_PIECE_BYTES = 1 << 20
_PIECE_ELEMENTS = 1 << 18
"""A multiple of 8, so that bits are taken in whole bytes."""

Floats = npt.NDArray[np.float32]
Whole = npt.NDArray[np.integer]


class Head(NamedTuple):
    """What a condensed program says of itself."""

    program_bytes: int
    program_sha256: str
    blocks: int


class Block(NamedTuple):
    """The head of a block."""

    kind: int
    bits: int
    entries: int
    rows: int
    columns: int
    expanded_bytes: int
    stream_bytes: int


def read_head(path: Path) -> Head | None:
    """``None`` for a plain program. Raises ``OSError``, and ``ProtocolError`` for a file that
    begins as a condensed program does and is none."""
    with path.open("rb") as file:
        return _read_head(file)


def expand(source: Path, target: Path) -> None:
    """Write the program that a condensed one stands for; its hash is for the caller to look at.

    Raises ``OSError``, and ``ProtocolError`` for a file that is not a condensed program.
    """
    with source.open("rb") as file, target.open("wb") as out:
        head = _read_head(file)
        if head is None:
            raise _broken("it does not begin as one")
        left = head.program_bytes
        for _ in range(head.blocks):
            block = Block(*BLOCK.unpack(_read(file, BLOCK.size)))
            if block.expanded_bytes > left:
                raise _broken("its blocks are longer than the program")
            left -= block.expanded_bytes
            stream = _Stream(file, block.stream_bytes)
            _expand_block(block, stream, out)
            stream.end()
        if left:
            raise _broken("its blocks are shorter than the program")
        if file.read(1):
            raise _broken("something follows its blocks")


def sums_of_atoms(scale: np.float32, atoms: Whole, indices: Whole, codes: Whole) -> Floats:
    """A matrix (rows x columns), of atoms (rows x entries), indices and codes (columns x each)."""
    wide = atoms.astype(np.int32)
    sums = np.zeros((len(atoms), len(indices)), np.int32)
    for place in range(indices.shape[1]):
        sums += wide[:, indices[:, place]] * codes[:, place].astype(np.int32)
    return (np.float64(scale) * sums).astype(np.float32)


def _read_head(file: BinaryIO) -> Head | None:
    data = file.read(HEAD.size)
    if not data.startswith(MAGIC):
        return None
    if len(data) < HEAD.size:
        raise _broken("it is cut off")
    _, program_bytes, digest, blocks = HEAD.unpack(data)
    if program_bytes > MAX_PROGRAM_BYTES:
        raise _broken(f"its program would have {program_bytes} bytes")
    return Head(program_bytes, digest.hex(), blocks)


def _expand_block(block: Block, stream: _Stream, out: BinaryIO) -> None:
    if block.kind == PLAIN:
        for size in _pieces(block.expanded_bytes, _PIECE_BYTES):
            out.write(stream.read(size))
        return
    elements, rest = divmod(block.expanded_bytes, _ELEMENT.itemsize)
    if rest:
        raise _broken("a block ends within an element")
    if block.kind == SHARED:
        _expand_shared(block, elements, stream, out)
    elif block.kind == SPARSE:
        _expand_sparse(elements, stream, out)
    elif block.kind == DICTIONARY:
        _expand_dictionary(block, elements, stream, out)
    else:
        raise _broken(f"there are no blocks of kind {block.kind}")


def _expand_shared(block: Block, elements: int, stream: _Stream, out: BinaryIO) -> None:
    if not (1 <= block.entries <= 256 and 1 <= block.bits <= 8):
        raise _broken(f"{block.entries} shared values of {block.bits} bits")
    values = np.frombuffer(stream.read(_ELEMENT.itemsize * block.entries), _ELEMENT)
    weights = (1 << np.arange(block.bits)).astype(np.uint16)
    for size in _pieces(elements, _PIECE_ELEMENTS):
        packed = np.frombuffer(stream.read(-(-size * block.bits // 8)), np.uint8)
        bits = np.unpackbits(packed, count=size * block.bits, bitorder="little")
        indices = bits.reshape(size, block.bits) @ weights
        if size and indices.max() >= block.entries:
            raise _broken("an index is beyond the shared values")
        out.write(values[indices].tobytes())


def _expand_sparse(elements: int, stream: _Stream, out: BinaryIO) -> None:
    mask = stream.read(-(-elements // 8))
    for start in range(0, elements, _PIECE_ELEMENTS):
        size = min(_PIECE_ELEMENTS, elements - start)
        packed = np.frombuffer(mask, np.uint8, -(-size // 8), start // 8)
        kept = np.unpackbits(packed, count=size, bitorder="little").astype(bool)
        whole = np.zeros(size, _ELEMENT)
        whole[kept] = np.frombuffer(stream.read(_ELEMENT.itemsize * int(kept.sum())), _ELEMENT)
        out.write(whole.tobytes())


def _expand_dictionary(block: Block, elements: int, stream: _Stream, out: BinaryIO) -> None:
    rows, columns, atoms, each = block.rows, block.columns, block.entries, block.bits
    if rows * columns != elements or not atoms or not each:
        raise _broken(f"{atoms} atoms for {rows} x {columns} numbers, {each} for each column")
    index = np.dtype("u1" if atoms <= 256 else "<u2")
    if rows * atoms + columns * each * (index.itemsize + 1) > block.expanded_bytes:
        raise _broken("a dictionary is larger than what it stands for")
    scale = np.frombuffer(stream.read(_ELEMENT.itemsize), _ELEMENT)[0]
    dictionary = np.frombuffer(stream.read(rows * atoms), np.int8).reshape(rows, atoms)
    indices = np.frombuffer(stream.read(columns * each * index.itemsize), index)
    codes = np.frombuffer(stream.read(columns * each), np.int8).reshape(columns, each)
    if columns and indices.max() >= atoms:
        raise _broken("an index is beyond the atoms")
    # Some rows at a time, so that memory holds no second copy of a large layer.
    step = max(1, _PIECE_ELEMENTS // max(columns, 1))
    for start in range(0, rows, step):
        some = dictionary[start : start + step]
        made = sums_of_atoms(scale, some, indices.reshape(columns, each), codes)
        out.write(made.astype(_ELEMENT).tobytes())


class _Stream:
    """A block's zlib stream, taken in pieces; raises ``ProtocolError`` for one that is damaged."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file, self._left = file, size_bytes
        self._inflater = zlib.decompressobj()
        self._waiting = b""

    def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes, or an error; no more is allocated than the stream yields."""
        parts, wanted = [], size
        while wanted:
            part = self._some(wanted)
            if not part:
                raise _broken("a stream is shorter than its block")
            parts.append(part)
            wanted -= len(part)
        return b"".join(parts)

    def end(self) -> None:
        if self._some(1) or not self._inflater.eof or self._left or self._inflater.unused_data:
            raise _broken("a stream is longer than its block, or cut off")

    def _some(self, most: int) -> bytes:
        """Of what follows; empty only at the stream's end."""
        while not self._inflater.eof:
            if not self._waiting and self._left:
                self._waiting = _read(self._file, min(self._left, _PIECE_BYTES))
                self._left -= len(self._waiting)
            is_last = not self._waiting
            try:
                # Without any more input it may still hold what had no room before.
                part = self._inflater.decompress(self._waiting, min(most, _PIECE_BYTES))
            except zlib.error as error:
                raise _broken(f"a stream is damaged: {error}") from None
            self._waiting = self._inflater.unconsumed_tail
            if part or is_last:
                return part
        return b""


def _pieces(whole: int, largest: int) -> list[int]:
    return [largest] * (whole // largest) + [whole % largest] * bool(whole % largest)


def _read(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise _broken("it is cut off")
    return data


def _broken(why: str) -> ProtocolError:
    return ProtocolError(
        f"This is no condensed program: {why}", fix="Make it anew with `mobilekit export`."
    )
