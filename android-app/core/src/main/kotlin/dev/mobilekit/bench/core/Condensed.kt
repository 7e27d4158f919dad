package dev.mobilekit.bench.core

import java.io.File
import java.io.InputStream
import java.io.OutputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.DataFormatException
import java.util.zip.Inflater

/** What a condensed program says of itself; `mobilekit/contract/condensed.py` specifies them. */
internal class CondensedHead(
    val programBytes: Long,
    val programSha256: String,
    val blocks: Long,
)

/** Null for a plain program. */
@Throws(ProtocolException::class)
internal fun readCondensedHead(file: File): CondensedHead? = file.inputStream().use(::readHead)

/** Writes the program that [source] stands for; its hash is for the caller to look at. */
@Throws(ProtocolException::class)
internal fun expandCondensed(
    source: File,
    target: File,
) = source.inputStream().buffered().use { input ->
    target.outputStream().use { out ->
        val head = readHead(input) ?: throw broken("it does not begin as one")
        var left = head.programBytes
        for (number in 1..head.blocks) {
            val block = Block(littleEndian(readExactly(input, BLOCK_BYTES)))
            if (block.expandedBytes !in 0..left) throw broken("its blocks are longer than the program")
            left -= block.expandedBytes
            BlockStream(input, block.streamBytes).use {
                Expansion(block, it, out).run()
                it.end()
            }
        }
        if (left > 0) throw broken("its blocks are shorter than the program")
        if (input.read() >= 0) throw broken("something follows its blocks")
    }
}

private fun readHead(input: InputStream): CondensedHead? {
    val data = readUpTo(input, HEAD_BYTES)
    if (data.size < MAGIC.size || !data.copyOf(MAGIC.size).contentEquals(MAGIC)) return null
    if (data.size < HEAD_BYTES) throw broken("it is cut off")
    val fields = littleEndian(data)
    val programBytes = fields.getLong(8)
    if (programBytes !in 0..MAX_PROGRAM_BYTES) {
        throw broken("its program would have ${programBytes.toULong()} bytes")
    }
    val sha256 = data.copyOfRange(16, 48).joinToString("") { "%02x".format(it) }
    return CondensedHead(programBytes, sha256, fields.getInt(48).toLong() and 0xffff_ffffL)
}

private class Block(
    head: ByteBuffer,
) {
    val kind = head.get(0).toInt() and 0xff
    val bits = head.get(1).toInt() and 0xff
    val count = head.getShort(2).toInt() and 0xffff
    val rows = head.getInt(4).toLong() and 0xffff_ffffL
    val columns = head.getInt(8).toLong() and 0xffff_ffffL
    val expandedBytes = head.getLong(12)
    val streamBytes = head.getLong(20)
}

/** Expands one block, a piece at a time. */
private class Expansion(
    private val block: Block,
    private val stream: BlockStream,
    private val out: OutputStream,
) {
    private val elements = block.expandedBytes / ELEMENT_BYTES

    fun run() {
        if (block.kind == PLAIN) return plain()
        if (block.expandedBytes % ELEMENT_BYTES != 0L) throw broken("a block ends within an element")
        when (block.kind) {
            SHARED -> shared()
            SPARSE -> sparse()
            DICTIONARY -> dictionary()
            else -> throw broken("there are no blocks of kind ${block.kind}")
        }
    }

    private fun plain() = pieces(block.expandedBytes, PIECE_BYTES) { out.write(stream.read(it)) }

    private fun shared() {
        val bits = block.bits
        if (block.count !in 1..256 || bits !in 1..8) {
            throw broken("${block.count} shared values of $bits bits")
        }
        val values = littleEndian(stream.read(ELEMENT_BYTES * block.count)).asIntBuffer()
        pieces(elements, PIECE_ELEMENTS) { size ->
            val packed = stream.read((size * bits + 7) / 8)
            write(size) { element ->
                var index = 0
                for (bit in 0 until bits) {
                    if (isSet(packed, element.toLong() * bits + bit)) index = index or (1 shl bit)
                }
                if (index >= block.count) throw broken("an index is beyond the shared values")
                values.get(index)
            }
        }
    }

    private fun sparse() {
        val mask = stream.read(((elements + 7) / 8).toInt())
        var start = 0L
        pieces(elements, PIECE_ELEMENTS) { size ->
            val kept = (0 until size).count { isSet(mask, start + it) }
            val values = littleEndian(stream.read(ELEMENT_BYTES * kept))
            write(size) { if (isSet(mask, start + it)) values.getInt() else 0 }
            start += size
        }
    }

    private fun dictionary() {
        val (rows, columns) = block.rows to block.columns
        val (atoms, each) = block.count to block.bits
        // Of two numbers below 2^32, which may not fit: so by a division.
        val fits = if (columns == 0L) elements == 0L else elements % columns == 0L && elements / columns == rows
        if (!fits || atoms == 0 || each == 0) {
            throw broken("$atoms atoms for $rows x $columns numbers, $each for each column")
        }
        val indexBytes = if (atoms <= 256) 1 else 2
        // Neither sum is beyond 64 bits: 2^32 x 2^16.
        if (rows * atoms + columns * each * (indexBytes + 1) > block.expandedBytes) {
            throw broken("a dictionary is larger than what it stands for")
        }
        val scale = littleEndian(stream.read(ELEMENT_BYTES)).getFloat().toDouble()
        val dictionary = stream.read((rows * atoms).toInt())
        val indices = indicesOf(stream.read((columns * each * indexBytes).toInt()), indexBytes, atoms)
        val codes = stream.read((columns * each).toInt())
        for (row in 0 until rows.toInt()) {
            val first = row * atoms
            pieces(columns, PIECE_ELEMENTS) { size, start ->
                write(size) { element ->
                    var place = (start.toInt() + element) * each
                    var sum = 0
                    repeat(each) {
                        sum += dictionary[first + indices[place]] * codes[place]
                        place++
                    }
                    (scale * sum).toFloat().toRawBits()
                }
            }
        }
    }

    private fun indicesOf(
        data: ByteArray,
        bytesOfEach: Int,
        atoms: Int,
    ): IntArray {
        val indices =
            if (bytesOfEach == 1) {
                IntArray(data.size) { data[it].toInt() and 0xff }
            } else {
                val shorts = littleEndian(data).asShortBuffer()
                IntArray(shorts.limit()) { shorts.get(it).toInt() and 0xffff }
            }
        if (indices.any { it >= atoms }) throw broken("an index is beyond the atoms")
        return indices
    }

    private inline fun write(
        size: Int,
        bitsOf: (Int) -> Int,
    ) {
        val piece = ByteBuffer.allocate(ELEMENT_BYTES * size).order(ByteOrder.LITTLE_ENDIAN)
        for (element in 0 until size) piece.putInt(bitsOf(element))
        out.write(piece.array())
    }
}

/** A block's zlib stream; no more is allocated than it yields. */
private class BlockStream(
    private val input: InputStream,
    private var left: Long,
) : AutoCloseable {
    private val inflater = Inflater()

    init {
        if (left < 0) throw broken("a stream's length is $left")
    }

    /** Exactly [size] bytes. */
    fun read(size: Int): ByteArray {
        var data = ByteArray(minOf(size, PIECE_BYTES))
        var count = 0
        while (count < size) {
            if (count == data.size) data = data.copyOf(minOf(size.toLong(), 2L * data.size).toInt())
            val some = some(data, count, data.size - count)
            if (some == 0) throw broken("a stream is shorter than its block")
            count += some
        }
        return data
    }

    fun end() {
        val isOver = some(ByteArray(1), 0, 1) == 0 && inflater.finished()
        if (!isOver || left > 0 || inflater.remaining > 0) {
            throw broken("a stream is longer than its block, or cut off")
        }
    }

    /** How many bytes it wrote; 0 only at the stream's end. */
    private fun some(
        into: ByteArray,
        offset: Int,
        size: Int,
    ): Int {
        while (!inflater.finished()) {
            if (inflater.needsDictionary()) throw broken("a stream is damaged: it needs a dictionary")
            val count =
                try {
                    inflater.inflate(into, offset, size)
                } catch (problem: DataFormatException) {
                    throw broken("a stream is damaged: ${problem.message}")
                }
            if (count > 0) return count
            if (inflater.needsInput()) {
                if (left == 0L) return 0
                val more = readExactly(input, minOf(left, PIECE_BYTES.toLong()).toInt())
                left -= more.size
                inflater.setInput(more)
            }
        }
        return 0
    }

    override fun close() = inflater.end()
}

private inline fun pieces(
    whole: Long,
    largest: Int,
    action: (Int, Long) -> Unit,
) {
    var done = 0L
    while (done < whole) {
        val size = minOf(largest.toLong(), whole - done).toInt()
        action(size, done)
        done += size
    }
}

private inline fun pieces(
    whole: Long,
    largest: Int,
    action: (Int) -> Unit,
) = pieces(whole, largest) { size, _ -> action(size) }

private fun isSet(
    bits: ByteArray,
    at: Long,
) = bits[(at shr 3).toInt()].toInt() shr (at and 7).toInt() and 1 == 1

private fun littleEndian(data: ByteArray) = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN)

private fun readExactly(
    input: InputStream,
    size: Int,
): ByteArray = readUpTo(input, size).also { if (it.size < size) throw broken("it is cut off") }

/** Fewer where the file ends; the JDK's own `readNBytes` is on no phone before Android 13. */
private fun readUpTo(
    input: InputStream,
    size: Int,
): ByteArray {
    val data = ByteArray(size)
    var count = 0
    while (count < size) {
        val some = input.read(data, count, size - count)
        if (some < 0) return data.copyOf(count)
        count += some
    }
    return data
}

private fun broken(why: String) = ProtocolException("this is no condensed program", why)

private val MAGIC = "mkcond\r\n".toByteArray()
private const val MAX_PROGRAM_BYTES = (1L shl 31) - 1
private const val HEAD_BYTES = 52
private const val BLOCK_BYTES = 28
private const val ELEMENT_BYTES = 4
private const val PIECE_BYTES = 1 shl 20
private const val PIECE_ELEMENTS = 1 shl 16
private const val PLAIN = 0
private const val SHARED = 1
private const val SPARSE = 2
private const val DICTIONARY = 3
