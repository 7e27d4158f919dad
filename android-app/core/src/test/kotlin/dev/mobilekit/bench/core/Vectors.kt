package dev.mobilekit.bench.core

import java.io.File

/** The contract's shared messages. */
object Vectors {
    val folder = File(checkNotNull(System.getProperty("vectors")) { "the build names the folder of the vectors" })

    fun files(kind: String): List<File> =
        checkNotNull(File(folder, kind).listFiles()) { "no vectors in $folder" }.sortedBy { it.name }

    /** A condensed program, and what is wrong with it; null where nothing is. */
    class Condensed(
        val name: String,
        val bytes: ByteArray,
        val error: String?,
    )

    fun condensed(): List<Condensed> =
        (parseJson(File(folder, "condensed.json").readBytes()) as Json.Array).items.map { item ->
            val fields = (item as Json.Object).fields
            val hex = (fields.getValue("condensed") as Json.Text).value.chunked(2)
            Condensed(
                name = (fields.getValue("name") as Json.Text).value,
                bytes = hex.map { it.toInt(16).toByte() }.toByteArray(),
                error = (fields.getValue("error") as? Json.Text)?.value,
            )
        }

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
