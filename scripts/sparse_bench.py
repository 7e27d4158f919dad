"""LiteRT's own kernel for a layer with sparse weights, beside its dense one on the same zeros.

    python scripts/sparse_bench.py [--output docs/compressing.md]

No exporter here writes sparse tensors, so that models of one fully connected layer are put together
by the format's own schema: weights in compressed rows, of single numbers or of blocks of four along
a row, as LiteRT's kernel takes them. One thread; the least of 60 inferences after 5. ``--output``
replaces the part of that file between the two markers; the table is printed in any case.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Literal

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from bench import markdown_table, tell_section

from mobilekit.units import format_bytes, format_duration

Floats = npt.NDArray[np.float32]
Storage = Literal["dense", "single", "blocks"]
SIZES, SHARES = (1024, 2048), (0.5, 0.7, 0.8, 0.9)
BLOCK = 4
VERSION_OF_SPARSE = 8
INFERENCES, WARMUPS = 60, 5


def make_model(weights: Floats, storage: Storage) -> bytes:
    outputs, inputs = weights.shape
    model = schema.ModelT()
    model.version, model.buffers = 3, [schema.BufferT()]
    values, sparsity = weights, None
    if storage != "dense":
        width = BLOCK if storage == "blocks" else 1
        blocks = weights.reshape(outputs, inputs // width, width)
        kept = (blocks != 0).any(axis=2)
        values, sparsity = blocks[kept], schema.SparsityParametersT()
        sparsity.dimMetadata = [_dense(outputs), _compressed(kept)]
        sparsity.traversalOrder = [0, 1]
        if storage == "blocks":
            sparsity.dimMetadata.append(_dense(BLOCK))
            sparsity.traversalOrder.append(2)
            sparsity.blockMap = [1]
    graph = schema.SubGraphT()
    graph.tensors = [
        _tensor("x", (1, inputs), 0),
        _tensor("weights", weights.shape, _buffer(model, values)),
        _tensor("bias", (outputs,), _buffer(model, np.zeros(outputs, np.float32))),
        _tensor("y", (1, outputs), 0),
    ]
    graph.tensors[1].sparsity = sparsity
    layer = schema.OperatorT()
    layer.opcodeIndex, layer.inputs, layer.outputs = 0, [0, 1, 2], [3]
    layer.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    layer.builtinOptions = schema.FullyConnectedOptionsT()
    graph.inputs, graph.outputs, graph.operators = [0], [3], [layer]
    model.subgraphs = [graph]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 1 if storage == "dense" else VERSION_OF_SPARSE
    model.operatorCodes = [code]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(name: str, shape: tuple[int, ...], buffer: int) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = name.encode(), list(shape), buffer
    tensor.type = schema.TensorType.FLOAT32
    return tensor


def _buffer(model: schema.ModelT, values: Floats) -> int:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.astype("<f4").tobytes(), np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def _dense(size: int) -> schema.DimensionMetadataT:
    axis = schema.DimensionMetadataT()
    axis.format, axis.denseSize = schema.DimensionType.DENSE, size
    return axis


def _compressed(kept: npt.NDArray[np.bool_]) -> schema.DimensionMetadataT:
    axis = schema.DimensionMetadataT()
    axis.format = schema.DimensionType.SPARSE_CSR
    axis.arraySegmentsType = axis.arrayIndicesType = schema.SparseIndexVector.Int32Vector
    axis.arraySegments, axis.arrayIndices = schema.Int32VectorT(), schema.Int32VectorT()
    axis.arraySegments.values = [0, *np.cumsum(kept.sum(axis=1)).tolist()]
    axis.arrayIndices.values = np.nonzero(kept)[1].tolist()
    return axis


def least_ns(model: bytes, weights: Floats, inputs: Floats) -> int:
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], inputs)
    times = []
    for number in range(WARMUPS + INFERENCES):
        started_ns = time.perf_counter_ns()
        interpreter.invoke()
        if number >= WARMUPS:
            times.append(time.perf_counter_ns() - started_ns)
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    expected = inputs @ weights.T
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    return min(times)


def row(size: int, share: float, random: np.random.Generator) -> list[str]:
    weights = random.normal(size=(size, size)).astype(np.float32)
    inputs = random.normal(size=(1, size)).astype(np.float32)
    single = np.where(random.random(weights.shape) < share, 0, weights)
    dropped = np.repeat(random.random((size, size // BLOCK)) < share, BLOCK, axis=1)
    blocks = np.where(dropped, 0, weights)
    cells = [f"{size} x {size}", f"{share:.0%}"]
    cases: tuple[tuple[Storage, Floats], ...] = (
        *(("dense", single), ("single", single)),
        ("blocks", blocks),
    )
    for storage, given in cases:
        model = make_model(given.astype(np.float32), storage)
        time_ns = least_ns(model, given, inputs)
        cells.append(f"{format_duration(time_ns)}, {format_bytes(len(model))}")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="put the table here")
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    rows = [row(size, share, random) for size in SIZES for share in SHARES]
    header = ["layer", "zeros", "dense", "sparse", f"sparse, blocks of {BLOCK}"]
    text = "\n".join(markdown_table(header, rows))
    tell_section(arguments.output, "sparse", f"{text}\n")


if __name__ == "__main__":
    main()
