package dev.mobilekit.bench.core

import java.io.File

/** The contract's shared messages. */
object Vectors {
    val folder = File(checkNotNull(System.getProperty("vectors")) { "the build names the folder of the vectors" })

    fun files(kind: String): List<File> =
        checkNotNull(File(folder, kind).listFiles()) { "no vectors in $folder" }.sortedBy { it.name }

    /** Those of a file that is one array of objects. */
    fun objects(name: String): List<Map<String, Json>> =
        (parseJson(File(folder, name).readBytes()) as Json.Array).items.map { (it as Json.Object).fields }

    /** A condensed program, and what is wrong with it; null where nothing is. */
    class Condensed(
        val name: String,
        val bytes: ByteArray,
        val error: String?,
    )

    fun condensed(): List<Condensed> =
        objects("condensed.json").map { fields ->
            Condensed(
                name = (fields.getValue("name") as Json.Text).value,
                bytes = bytes(fields.getValue("condensed")),
                error = (fields.getValue("error") as? Json.Text)?.value,
            )
        }

    /** A program, weights, and what the methods lack of them, or what is wrong with one of the two. */
    class Apart(
        val name: String,
        val program: ByteArray,
        val weights: ByteArray,
        val methods: List<String>,
        val lack: String?,
        val error: String?,
    )

    fun apart(): List<Apart> =
        objects("apart.json").map { fields ->
            Apart(
                name = (fields.getValue("name") as Json.Text).value,
                program = bytes(fields.getValue("program")),
                weights = bytes(fields.getValue("weights")),
                methods = (fields.getValue("methods") as Json.Array).items.map { (it as Json.Text).value },
                lack = (fields.getValue("lack") as? Json.Text)?.value,
                error = (fields.getValue("error") as? Json.Text)?.value,
            )
        }

    private fun bytes(hex: Json): ByteArray =
        (hex as Json.Text)
            .value
            .chunked(2)
            .map { it.toInt(16).toByte() }
            .toByteArray()

    /** `run_request` of `run_request-full.json`. */
    fun messageOf(file: File): String = file.name.substringBefore('-')

    /** The message decoded, and encoded again. */
    fun decodeAndEncode(
        message: String,
        bytes: ByteArray,
    ): Pair<Any, String> =
        when (message) {
            "run_request" -> decodeRequest(bytes).let { it to encodeRequest(it) }
            "run_success", "run_failure" -> decodeResult(bytes).let { it to encodeResult(it) }
            else -> decodeEvent(bytes).let { it to encodeEvent(it) }
        }
}
