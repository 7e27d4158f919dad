package dev.mobilekit.bench.onnx

import java.io.ByteArrayOutputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** Small real ONNX models, written out here so that no test needs an exporter or a binary file. */
object OnnxModels {
    private const val FLOAT = 1L

    /** `y = relu(x w) w ... ` with [layers] products of a row of [size] with the same square matrix. */
    fun dense(
        size: Int,
        layers: Int,
        weights: FloatArray,
    ): ByteArray {
        val nodes =
            (1..layers).flatMap { layer ->
                listOf(
                    message(1, node("MatMul", listOf(if (layer == 1) "x" else "y${layer - 1}", "w"), "p$layer")),
                    message(1, node("Relu", listOf("p$layer"), if (layer == layers) "y" else "y$layer")),
                )
            }
        val raw = ByteBuffer.allocate(4 * weights.size).order(ByteOrder.LITTLE_ENDIAN)
        weights.forEach(raw::putFloat)
        val initializer =
            join(
                number(1, size.toLong()),
                number(1, size.toLong()),
                number(2, FLOAT),
                text(8, "w"),
                message(9, raw.array()),
            )
        val graph =
            join(
                *nodes.toTypedArray(),
                text(2, "dense"),
                message(5, initializer),
                message(11, rowOf("x", size)),
                message(12, rowOf("y", size)),
            )
        // Version 8 of the format, operators of set 13.
        return join(number(1, 8), message(7, graph), message(8, number(2, 13)))
    }

    private fun node(
        type: String,
        inputs: List<String>,
        output: String,
    ) = join(*inputs.map { text(1, it) }.toTypedArray(), text(2, output), text(4, type))

    private fun rowOf(
        name: String,
        size: Int,
    ): ByteArray {
        val dimensions = join(message(1, number(1, 1)), message(1, number(1, size.toLong())))
        val tensor = join(number(1, FLOAT), message(2, dimensions))
        return join(text(1, name), message(2, message(1, tensor)))
    }

    // Protocol buffers: a field is its number and its kind, then a number or a length and bytes.

    private fun number(
        field: Int,
        value: Long,
    ) = join(varint(field * 8L), varint(value))

    private fun text(
        field: Int,
        value: String,
    ) = message(field, value.toByteArray())

    private fun message(
        field: Int,
        value: ByteArray,
    ) = join(varint(field * 8L + 2), varint(value.size.toLong()), value)

    private fun varint(value: Long): ByteArray {
        val out = ByteArrayOutputStream()
        var rest = value
        while (rest >= 0x80) {
            out.write((rest and 0x7f or 0x80).toInt())
            rest = rest ushr 7
        }
        out.write(rest.toInt())
        return out.toByteArray()
    }

    private fun join(vararg parts: ByteArray): ByteArray =
        ByteArrayOutputStream().also { out -> parts.forEach(out::write) }.toByteArray()
}
