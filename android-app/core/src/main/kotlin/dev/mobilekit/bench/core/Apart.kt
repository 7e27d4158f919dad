package dev.mobilekit.bench.core

import java.io.File
import java.io.RandomAccessFile
import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel

/**
 * What some of the [methods] reads that neither [program] nor [weights] has; null where they have all that
 * these read. `mobilekit/contract/apart.py` says what is read of the two files. [program] is one that is expanded.
 *
 * @throws ProtocolException for a file that is not of its format, or of more than 2 GiB.
 */
internal fun findLack(
    program: File,
    methods: List<String>,
    weights: File,
): String? {
    val (needs, ownSizes) = read(program, "program") { readProgram(it, methods) }
    val sizes = ownSizes + read(weights, "weights", ::readWeights)
    for (need in needs) {
        val found =
            sizes[need.key] ?: return "${need.method} reads the constant ${need.key}, which ${weights.name} has not"
        if (found < need.sizeBytes) {
            return "${need.method} reads ${need.sizeBytes} bytes of the constant ${need.key}, " +
                "of which ${weights.name} has $found"
        }
    }
    return null
}

/** A constant that a method reads, and how much of it. */
private class Need(
    val method: String,
    val key: String,
    val sizeBytes: ULong,
)

private fun <T> read(
    file: File,
    kind: String,
    read: (Bytes) -> T,
): T =
    try {
        RandomAccessFile(file, "r").use {
            read(Bytes(it.channel.map(FileChannel.MapMode.READ_ONLY, 0, it.length()).order(ByteOrder.LITTLE_ENDIAN)))
        }
    } catch (problem: IllegalArgumentException) {
        throw ProtocolException(file.name, "no $kind of ExecuTorch: ${problem.message}")
    } catch (problem: IndexOutOfBoundsException) {
        throw ProtocolException(file.name, "no $kind of ExecuTorch: ${problem.message}")
    }

/** What the methods need, and the sizes of the constants that the program has itself. */
private fun readProgram(
    data: Bytes,
    methods: List<String>,
): Pair<List<Need>, Map<String, ULong>> {
    val root = data.root(0, "ET12")
    val segments = root.tables(4)
    val inline = root.tables(3)
    // Of what is read: by whom, and where it is. Several delegates may share their data.
    val starts = LinkedHashSet<Pair<String, Long>>()
    for (plan in root.tables(1)) {
        val name = plan.text(0)
        if (name !in methods) continue
        for (delegate in plan.tables(7)) {
            if (delegate.text(0) != XNNPACK) continue
            dataStart(data, delegate, inline, segments)?.let { starts += name to it }
        }
    }
    val constants = starts.map { it.second }.distinct().associateWith { readConstants(data, it) }
    val needs =
        starts.flatMap { (name, start) ->
            constants.getValue(start).map { (key, sizeBytes) -> Need(name, key, sizeBytes) }
        }
    return needs to sizes(root.tables(7), segments)
}

/** Where a delegate's data is; null where it has none. */
private fun dataStart(
    data: Bytes,
    delegate: Table,
    inline: List<Table>,
    segments: List<Table>,
): Long? {
    val place = delegate.table(1) ?: return null
    val number = place.index(1)
    if (place.byte(0) != IN_SEGMENT) return inline[number].vector(0, 1).first
    return data.within(data.long(SEGMENTS_AT)) + data.within(segments[number].long(0))
}

/** The keys and sizes of those that XNNPACK's data names. */
private fun readConstants(
    data: Bytes,
    start: Long,
): List<Pair<String, ULong>> {
    require(data.mark(start + 4) == "XH00") { "no data of XNNPACK" }
    return data
        .root(start + data.int(start + GRAPH_AT), "XN01")
        .tables(8)
        .map { it.text(2) to it.long(1).toULong() }
        .filter { (key, _) -> key.isNotEmpty() }
}

private fun readWeights(data: Bytes): Map<String, ULong> {
    val root = data.root(0, "FT01")
    return sizes(root.tables(2), root.tables(1))
}

private fun sizes(
    named: List<Table>,
    segments: List<Table>,
): Map<String, ULong> = named.associate { it.text(0) to segments[it.index(1)].long(1).toULong() }

/**
 * Numbers at offsets, which may be any: one that leads out is an [IndexOutOfBoundsException], and so is a vector
 * where those that were read hold more than all the data.
 */
private class Bytes(
    private val data: ByteBuffer,
) {
    val size = data.limit().toLong()
    private var leftBytes = size
    private val texts = HashMap<Long, String>()

    fun byte(at: Long): Int = data.get(place(at)).toInt() and 0xff

    fun short(at: Long): Long = data.getShort(place(at)).toLong() and 0xffff

    fun signed(at: Long): Long = data.getInt(place(at)).toLong()

    fun int(at: Long): Long = signed(at) and 0xffff_ffffL

    fun long(at: Long): Long = data.getLong(place(at))

    fun mark(at: Long): String = slice(at, 4)

    /** That of a vector, which several tables may share. */
    fun text(
        start: Long,
        sizeBytes: Int,
    ): String =
        texts.getOrPut(start) {
            take(sizeBytes.toLong())
            slice(start, sizeBytes)
        }

    /** A vector of that size is read: no two of them have bytes in common in an honest file. */
    fun take(sizeBytes: Long) {
        leftBytes -= sizeBytes
        if (leftBytes < 0) throw IndexOutOfBoundsException("its vectors hold more than it does")
    }

    fun root(
        start: Long,
        kind: String,
    ): Table {
        val found = mark(start + 4)
        require(found == kind) { "it is marked '$found', not '$kind'" }
        return Table(this, start + int(start))
    }

    fun within(at: Long): Long =
        if (at in 0 until size) at else throw IndexOutOfBoundsException("an offset leads out of the data")

    private fun slice(
        at: Long,
        sizeBytes: Int,
    ): String {
        if (sizeBytes == 0) return ""
        within(at + sizeBytes - 1)
        val bytes = ByteArray(sizeBytes)
        val from = data.duplicate()
        // As a Buffer: older Android has no position() of ByteBuffer itself.
        (from as Buffer).position(place(at))
        from.get(bytes)
        return String(bytes)
    }

    private fun place(at: Long): Int = within(at).toInt()
}

/** A table of a flatbuffer. */
private class Table(
    private val data: Bytes,
    private val at: Long,
) {
    fun byte(field: Int): Int = place(field)?.let(data::byte) ?: 0

    fun index(field: Int): Int = place(field)?.let(data::int)?.coerceAtMost(Int.MAX_VALUE.toLong())?.toInt() ?: 0

    fun long(field: Int): Long = place(field)?.let(data::long) ?: 0

    fun text(field: Int): String = vector(field, 1).let { (start, count) -> data.text(start, count) }

    fun table(field: Int): Table? = place(field)?.let { Table(data, it + data.int(it)) }

    fun tables(field: Int): List<Table> {
        val (start, count) = vector(field, Int.SIZE_BYTES)
        data.take(count.toLong() * Int.SIZE_BYTES)
        return List(count) { (start + it * Int.SIZE_BYTES).let { place -> Table(data, place + data.int(place)) } }
    }

    /** Where it begins, and how many items it has; none where there is no such field. */
    fun vector(
        field: Int,
        itemBytes: Int,
    ): Pair<Long, Int> {
        val place = place(field) ?: return 0L to 0
        val lengthAt = place + data.int(place)
        val count = data.int(lengthAt)
        val start = lengthAt + Int.SIZE_BYTES
        if (start + count * itemBytes > data.size) throw IndexOutOfBoundsException("a vector is longer than the data")
        return start to count.toInt()
    }

    private fun place(field: Int): Long? {
        val fieldsAt = at - data.signed(at)
        val offsetAt = (2L + field) * Short.SIZE_BYTES
        if (offsetAt >= data.short(fieldsAt)) return null
        return data.short(fieldsAt + offsetAt).takeIf { it > 0 }?.let { at + it }
    }
}

private const val XNNPACK = "XnnpackBackend"
private const val IN_SEGMENT = 1

/** Where the head of a program says where its segments begin. */
private const val SEGMENTS_AT = 24L

/** Where the head of XNNPACK's data says where its flatbuffer begins. */
private const val GRAPH_AT = 10L
