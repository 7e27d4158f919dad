package dev.mobilekit.bench.core

import net.jqwik.api.Arbitraries
import net.jqwik.api.Arbitrary
import net.jqwik.api.Combinators
import net.jqwik.api.Example
import net.jqwik.api.ForAll
import net.jqwik.api.Property
import net.jqwik.api.Provide
import net.jqwik.api.ShrinkingMode
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import java.io.ByteArrayOutputStream
import java.io.File
import kotlin.io.path.createTempDirectory

/**
 * Every parser and codec that reads what others wrote, on what is almost right: whatever comes, there
 * is an answer that can be written and read again, or a refusal that names the field.
 *
 * `-Dfuzz.tries=N` is how many cases each property has.
 */
class FuzzTest {
    /** A message of a kind, some of whose bytes are not its own. */
    data class Edited(
        val message: String,
        val bytes: ByteArray,
    ) {
        override fun toString() = "$message: ${bytes.toString(Charsets.UTF_8)}"
    }

    private data class Edit(
        val start: Double,
        val length: Int,
        val put: ByteArray,
        val again: Boolean,
    )

    @Provide
    fun messages(): Arbitrary<Edited> =
        Arbitraries.of(Vectors.files("valid")).flatMap { file ->
            edited(file.readBytes()).map { Edited(Vectors.messageOf(file), it) }
        }

    @Provide
    fun progress(): Arbitrary<ByteArray> {
        val lines = Vectors.files("valid").filter { !it.name.startsWith("run_") || it.name.startsWith("run_taken") }
        return Arbitraries
            .of(lines)
            .list()
            .ofMinSize(1)
            .ofMaxSize(4)
            .flatMap { files -> edited(files.joinToString("") { encoded(it) + "\n" }.toByteArray()) }
    }

    @Provide
    fun answers(): Arbitrary<Pair<String, ByteArray>> =
        Arbitraries.of(Vectors.files("answers")).flatMap { file ->
            val vector = (parseJson(file.readBytes()) as Json.Object).fields
            edited(vector.getValue("result").encode().toByteArray()).map { vector.getValue("request").encode() to it }
        }

    @Provide
    fun systemFiles(): Arbitrary<ByteArray> =
        Arbitraries
            .of(
                "VmHWM:\t  12345 kB\nVmRSS:\t    999 kB\n",
                "processor\t: 0\nFeatures\t: fp asimd aes\nCPU part\t: 0xd03\n",
            ).flatMap { edited(it.toByteArray()) }

    @Provide
    fun condensed(): Arbitrary<ByteArray> = Arbitraries.of(Vectors.condensed().map { it.bytes }).flatMap(::edited)

    @Property(shrinking = ShrinkingMode.BOUNDED)
    fun `a condensed program is expanded or refused`(
        @ForAll("condensed") bytes: ByteArray,
    ) = inFolder { root ->
        val source = File(root, "small").also { it.writeBytes(bytes) }
        val target = File(root, "program")
        try {
            expandCondensed(source, target)
            assertEquals(checkNotNull(readCondensedHead(source)).programBytes, target.length())
        } catch (_: ProtocolException) {
            return@inFolder
        }
    }

    @Provide
    fun apart(): Arbitrary<Pair<ByteArray, ByteArray>> =
        Arbitraries.of(Vectors.apart()).flatMap { vector ->
            Combinators.combine(edited(vector.program), edited(vector.weights)).`as`(::Pair)
        }

    @Property(shrinking = ShrinkingMode.BOUNDED)
    fun `weights apart are enough or not or refused`(
        @ForAll("apart") files: Pair<ByteArray, ByteArray>,
    ) = inFolder { root ->
        val (program, weights) = File(root, "program") to File(root, "weights")
        program.writeBytes(files.first)
        weights.writeBytes(files.second)
        try {
            findLack(program, listOf("level_1", "level_2"), weights)
        } catch (_: ProtocolException) {
            return@inFolder
        }
    }

    @Property(shrinking = ShrinkingMode.BOUNDED)
    fun `a message is refused or comes back equal`(
        @ForAll("messages") edited: Edited,
    ) {
        val (message, encoded) =
            try {
                Vectors.decodeAndEncode(edited.message, edited.bytes)
            } catch (_: ProtocolException) {
                return
            } catch (_: OtherVersionException) {
                return
            }
        assertEquals(message, Vectors.decodeAndEncode(edited.message, encoded.toByteArray()).first)
    }

    @Property(shrinking = ShrinkingMode.BOUNDED)
    fun `a document is refused or comes back equal`(
        @ForAll("messages") edited: Edited,
    ) {
        val json =
            try {
                parseJson(edited.bytes)
            } catch (_: ProtocolException) {
                return
            }
        assertEquals(json, parseJson(json.encode().toByteArray()))
    }

    @Property(shrinking = ShrinkingMode.BOUNDED)
    fun `an answer holds against its request or is refused`(
        @ForAll("answers") answer: Pair<String, ByteArray>,
    ) {
        try {
            checkAnswer(decodeRequest(answer.first.toByteArray()), decodeResult(answer.second))
        } catch (_: ProtocolException) {
            return
        }
    }

    @Property(shrinking = ShrinkingMode.BOUNDED)
    fun `what an earlier process left is read as far as it is sound`(
        @ForAll("progress") progress: ByteArray,
        @ForAll("messages") result: Edited,
    ) = inFolder { root ->
        val folder = File(root, "runs/run-1").also { it.mkdirs() }
        File(folder, "progress.jsonl").writeBytes(progress)
        File(folder, "result.json").writeBytes(result.bytes)
        RunDirectory(root, "run-1").use { directory ->
            directory.earlierEvents()?.forEach { assertEquals(it, decodeEvent(encodeEvent(it).toByteArray())) }
            directory.earlierResult()?.let { assertEquals(it, decodeResult(encodeResult(it).toByteArray())) }
            directory.take(7)
        }
    }

    @Property(shrinking = ShrinkingMode.BOUNDED)
    fun `what the system tells is read or left`(
        @ForAll("systemFiles") text: ByteArray,
    ) = inFolder { root ->
        val file = File(root, "status").also { it.writeBytes(text) }
        readKibFields(file).forEach { (name, bytes) -> assertTrue("$name: $bytes", bytes >= 0) }
        readArmFeatures(file)
    }

    @Example
    fun `a size that no memory has is left out`() =
        inFolder { root ->
            val file = File(root, "status")
            file.writeText("VmHWM: ${"9".repeat(40)} kB\nVmPeak: ${Long.MAX_VALUE} kB\nVmRSS:\t 7 kB\n")
            assertEquals(mapOf("VmRSS" to 7L * 1024), readKibFields(file))
        }

    private fun inFolder(action: (File) -> Unit) {
        val folder = createTempDirectory("mobilekit-fuzz-").toFile()
        try {
            action(folder)
        } finally {
            folder.deleteRecursively()
        }
    }

    private fun encoded(file: File): String = Vectors.decodeAndEncode(Vectors.messageOf(file), file.readBytes()).second

    /** Some of the bytes changed, left out, put twice, or with others in their place. */
    private fun edited(seed: ByteArray): Arbitrary<ByteArray> {
        val edit =
            Combinators
                .combine(
                    Arbitraries.doubles().between(0.0, 1.0),
                    Arbitraries.integers().between(0, 40),
                    Arbitraries.oneOf(
                        Arbitraries.of(TOKENS.map(String::toByteArray)),
                        Arbitraries.bytes().array(ByteArray::class.java).ofMaxSize(6),
                    ),
                    Arbitraries.of(true, false),
                ).`as` { start, length, put, again -> Edit(start, length, put, again) }
        return edit.list().ofMaxSize(4).map { edits -> edits.fold(seed, ::apply) }
    }

    private fun apply(
        data: ByteArray,
        edit: Edit,
    ): ByteArray {
        val start = (edit.start * data.size).toInt()
        val end = minOf(data.size, start + edit.length)
        val out = ByteArrayOutputStream()
        out.write(data, 0, start)
        out.write(edit.put)
        if (edit.again) out.write(data, start, end - start)
        out.write(data, end, data.size - end)
        return out.toByteArray()
    }

    private companion object {
        val TOKENS =
            listOf(
                "[".repeat(5000),
                "{\"a\":".repeat(5000),
                "9".repeat(400),
                "${Long.MAX_VALUE}",
                "9223372036854775808",
            ) +
                listOf(
                    "-1",
                    "0",
                    "-0",
                    "1e999",
                    "1.0",
                    "1e3",
                    "null",
                    "true",
                    "\"\"",
                    "\u0000",
                    "\u202e",
                    "\u001b[2J",
                ) +
                listOf("\r\n", "NaN", "../../x", " ", ",", "'", "\"", "\\ud800", "\uD83D\uDD0B", "\u0661", "\uFF11")
    }
}
