package dev.mobilekit.bench.core

import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.abs

/** A tensor's elements in C order; [data] is little-endian, from position 0 to its limit. */
class Tensor(
    val dtype: DType,
    val shape: List<Long>,
    val data: ByteBuffer,
) {
    init {
        data.order(ByteOrder.LITTLE_ENDIAN)
    }

    val elements: Int get() = data.limit() / dtype.sizeBytes

    /** The element at [index] in C order; truth is 1. */
    operator fun get(index: Int): Double =
        when (dtype) {
            DType.FLOAT32 -> data.getFloat(4 * index).toDouble()
            DType.INT64 -> data.getLong(8 * index).toDouble()
            DType.INT32 -> data.getInt(4 * index).toDouble()
            DType.UINT8 -> (data.get(index).toInt() and 0xff).toDouble()
            DType.INT8 -> data.get(index).toDouble()
            DType.BOOL -> if (data.get(index).toInt() == 0) 0.0 else 1.0
        }
}

/**
 * Compares outputs with their reference.
 *
 * Errors are taken over all tensors; the relative one is divided by 1 where the reference is all zero.
 * Where nothing finite can be said (an element that is not finite on either side, another number of
 * tensors, another shape) the outputs do not match and the errors are [Double.MAX_VALUE], since JSON
 * has no infinity.
 */
fun checkOutputs(
    outputs: List<Tensor>,
    reference: List<Tensor>,
    relativeTolerance: Double,
): OutputCheck {
    if (outputs.map { it.shape } != reference.map { it.shape }) return INCOMPARABLE
    var maxError = 0.0
    var maxReference = 0.0
    for ((output, expected) in outputs.zip(reference)) {
        for (index in 0 until expected.elements) {
            val error = abs(output[index] - expected[index])
            if (!error.isFinite()) return INCOMPARABLE
            maxError = maxOf(maxError, error)
            maxReference = maxOf(maxReference, abs(expected[index]))
        }
    }
    val relativeError = maxError / (if (maxReference == 0.0) 1.0 else maxReference)
    return OutputCheck(relativeError <= relativeTolerance, maxError, minOf(relativeError, Double.MAX_VALUE))
}

private val INCOMPARABLE = OutputCheck(false, Double.MAX_VALUE, Double.MAX_VALUE)
