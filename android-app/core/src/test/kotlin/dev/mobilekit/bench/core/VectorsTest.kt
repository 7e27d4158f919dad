package dev.mobilekit.bench.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import java.nio.ByteBuffer

class VectorsTest {
    @get:Rule
    val folder = TemporaryFolder()

    @Test
    fun `a valid message comes back equal`() {
        for (file in Vectors.files("valid")) {
            val (message, encoded) = Vectors.decodeAndEncode(Vectors.messageOf(file), file.readBytes())
            assertEquals(file.name, byValue(parseJson(file.readBytes())), byValue(parseJson(encoded.toByteArray())))
            assertEquals(file.name, Vectors.messageOf(file), snakeCase(message.javaClass))
        }
    }

    @Test
    fun `an invalid message is refused by the name of the field`() {
        for (file in Vectors.files("invalid")) {
            val vector = (parseJson(file.readBytes()) as Json.Object).fields
            val text = (vector["text"] as? Json.Text)?.value ?: vector.getValue("message").encode()
            val field = (vector.getValue("field") as Json.Text).value
            assertRefused(file.name, field, Vectors.messageOf(file), text)
        }
    }

    @Test
    fun `an answer is held against its request`() {
        for (file in Vectors.files("answers")) {
            val vector = (parseJson(file.readBytes()) as Json.Object).fields
            val request = decodeRequest(vector.getValue("request").encode().toByteArray())
            val result = decodeResult(vector.getValue("result").encode().toByteArray())
            val field = vector.getValue("field")
            if (field is Json.Text) {
                val error =
                    assertThrows(file.name, ProtocolException::class.java) { checkAnswer(request, result) }
                assertTrue("${file.name}: $error", field.value in error.message.orEmpty())
            } else {
                checkAnswer(request, result)
            }
        }
    }

    @Test
    fun `every field is needed and no other is taken`() {
        for (file in Vectors.files("valid")) {
            for ((name, changed) in changes(parseJson(file.readBytes()))) {
                assertRefused("${file.name} and $name", name, Vectors.messageOf(file), changed.encode())
            }
        }
    }

    @Test
    fun `every message type has a valid and an invalid vector`() {
        val messages =
            (
                listOf(RunRequest::class.java) +
                    RunResult::class.java.permittedSubclasses +
                    ProgressEvent::class.java.permittedSubclasses
            ).mapTo(sortedSetOf(), ::snakeCase)
        for (kind in listOf("valid", "invalid")) {
            assertEquals(kind, messages, Vectors.files(kind).mapTo(sortedSetOf(), Vectors::messageOf))
        }
    }

    @Test
    fun `a message of another version says so whatever else is in it`() {
        assertThrows(OtherVersionException::class.java) {
            decodeRequest("""{"protocol_version": ${PROTOCOL_VERSION + 1}, "colour": "blue"}""".toByteArray())
        }
    }

    @Test
    fun `a field given twice is refused`() {
        assertRefused("twice", "$.at_ns", "run_ended", """{"type":"end","at_ns":1,"at_ns":1}""")
    }

    @Test
    fun `bytes that are not UTF-8 are refused`() {
        val bytes = """{"type":"energy_refused","reason":"x"}""".toByteArray()
        bytes[bytes.indexOf('x'.code.toByte())] = 0xff.toByte()
        assertThrows(ProtocolException::class.java) { decodeEvent(bytes) }
    }

    @Test
    fun `a document nested without end is refused`() {
        assertRefused("nested", "deeply", "run_ended", "[".repeat(100_000))
    }

    @Test
    fun `any text an engine may fail with can be encoded`() {
        val message = "\u0000\"\\\n\ud800 \udc00\ud83d\udd0b"
        val encoded = encodeEvent(EnergyRefused(message))
        assertEquals(
            EnergyRefused("\u0000\"\\\n\uFFFD \uFFFD\ud83d\udd0b"),
            decodeEvent(encoded.toByteArray()),
        )
    }

    @Test
    fun `warm-up ends where the rule says`() {
        for (vector in Vectors.objects("warmup.json")) {
            val name = (vector.getValue("name") as Json.Text).value
            val detector = WarmupDetector(vector.getValue("rule").decode("$") { readWarmupRule() })
            val latencies =
                (
                    vector.getValue(
                        "latency_ns",
                    ) as Json.Array
                ).items.map { (it as Json.Number).literal.toLong() }
            assertTrue(name, latencies.any(detector::add))
            assertEquals(name, number(vector, "iterations").toLong(), detector.iterations)
            assertEquals(name, (vector.getValue("settled") as Json.Bool).value, detector.settled)
        }
    }

    @Test
    fun `outputs are compared as the contract says`() {
        for (vector in Vectors.objects("output_check.json")) {
            val expected =
                OutputCheck(
                    (vector.getValue("matches") as Json.Bool).value,
                    number(vector, "max_absolute_error"),
                    number(vector, "max_relative_error"),
                )
            val actual =
                checkOutputs(
                    tensors(vector.getValue("outputs")),
                    tensors(vector.getValue("reference_outputs")),
                    number(vector, "relative_tolerance"),
                )
            assertEquals((vector.getValue("name") as Json.Text).value, expected, actual)
        }
    }

    @Test
    fun `a text is cut at its end and says so`() {
        for (vector in Vectors.objects("texts.json")) {
            val (unit, ending) = listOf("unit", "ending").map { (vector.getValue(it) as Json.Text).value }
            val text = unit.repeat(number(vector, "times").toInt())
            val kept = text.substring(0, text.offsetByCodePoints(0, number(vector, "kept").toInt()))
            assertEquals(kept + ending, cutText(text))
        }
    }

    @Test
    fun `a name is cut between characters`() {
        for (unit in listOf("x", "é", "🔋", "x🔋")) {
            val longest = unit.repeat(256 / unit.codePointCount(0, unit.length))
            assertEquals(longest, cutName(longest))
            assertEquals(longest, cutName(longest + unit))
        }
        val odd = "x" + "🔋".repeat(255)
        assertEquals(odd, cutName("$odd🔋"))
    }

    @Test
    fun `what weights apart lack is told`() {
        for (vector in Vectors.apart()) {
            val (program, weights) = folder.newFile() to folder.newFile()
            program.writeBytes(vector.program)
            weights.writeBytes(vector.weights)
            if (vector.error != null) {
                val problem =
                    assertThrows(vector.name, ProtocolException::class.java) {
                        findLack(program, vector.methods, weights)
                    }
                assertTrue("${vector.name}: $problem", vector.error in problem.message.orEmpty())
            } else {
                val lack = findLack(program, vector.methods, weights)
                assertTrue("${vector.name}: $lack", if (vector.lack == null) lack == null else vector.lack in lack!!)
            }
        }
    }

    @Test
    fun `a condensed program expands as the contract says`() {
        for (vector in Vectors.condensed()) {
            val name = vector.name
            val (source, target) = folder.newFile() to folder.newFile()
            source.writeBytes(vector.bytes)
            if (vector.error != null) {
                val problem =
                    assertThrows(name, ProtocolException::class.java) { expandCondensed(source, target) }
                assertTrue("$name: $problem", vector.error in problem.message.orEmpty())
            } else {
                expandCondensed(source, target)
                val head = checkNotNull(readCondensedHead(source)) { name }
                assertEquals(name, head.programSha256 to head.programBytes, sha256(target) to target.length())
            }
        }
    }

    private fun assertRefused(
        case: String,
        field: String,
        message: String,
        text: String,
    ) {
        val error =
            assertThrows(case, Exception::class.java) { Vectors.decodeAndEncode(message, text.toByteArray()) }
        assertTrue("$case: $error", error is ProtocolException || error is OtherVersionException)
        assertTrue("$case: '${error.message}' does not name '$field'", field in error.message.orEmpty())
    }

    /** The document less each of its fields, and with one more in each of its objects. */
    private fun changes(json: Json): List<Pair<String, Json>> =
        when (json) {
            is Json.Object -> {
                json.fields.keys.map { it to Json.Object(json.fields - it) } +
                    ("surplus" to Json.Object(json.fields + ("surplus" to Json.Null))) +
                    json.fields.flatMap { (name, value) ->
                        changes(value).map { (at, changed) -> at to Json.Object(json.fields + (name to changed)) }
                    }
            }

            is Json.Array -> {
                json.items.flatMapIndexed { index, item ->
                    changes(item).map { (at, changed) ->
                        at to Json.Array(json.items.toMutableList().also { it[index] = changed })
                    }
                }
            }

            else -> {
                emptyList()
            }
        }

    /** Numbers by value and objects without an order, as the vectors are compared. */
    private fun byValue(json: Json): Any? =
        when (json) {
            is Json.Object -> json.fields.mapValues { byValue(it.value) }
            is Json.Array -> json.items.map(::byValue)
            is Json.Number -> json.literal.toBigDecimal().stripTrailingZeros()
            else -> json
        }

    private fun number(
        vector: Map<String, Json>,
        name: String,
    ): Double = (vector.getValue(name) as Json.Number).literal.toDouble()

    private fun tensors(json: Json): List<Tensor> =
        (json as Json.Array).items.map { tensor ->
            val values =
                (tensor as Json.Array).items.map {
                    when (it) {
                        is Json.Number -> it.literal.toFloat()
                        Json.Text("nan") -> Float.NaN
                        Json.Text("inf") -> Float.POSITIVE_INFINITY
                        else -> Float.NEGATIVE_INFINITY
                    }
                }
            floatTensor(*values.toFloatArray())
        }

    private fun snakeCase(type: Class<*>): String = type.simpleName.replace(Regex("(?<!^)(?=[A-Z])"), "_").lowercase()
}

fun floatTensor(vararg values: Float): Tensor =
    Tensor(DType.FLOAT32, listOf(values.size.toLong()), ByteBuffer.allocate(4 * values.size)).also { tensor ->
        values.forEachIndexed { index, value -> tensor.data.putFloat(4 * index, value) }
    }
