"""Labelled examples as a run takes them, with eager PyTorch's outputs for them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from mobilekit.contract.outputs import Array
from mobilekit.contract.protocol import DType, TensorFile
from mobilekit.errors import DataError
from mobilekit.model.calibration import read_examples
from mobilekit.model.dataset import INPUTS, LABELS, class_indices, open_dataset
from mobilekit.model.files import put_in_place, reporting_full_disk, written_aside
from mobilekit.model.zoo import read_front_end
from mobilekit.records.measurement import Examples
from mobilekit.records.network import ModelSpec


def check_examples(spec: ModelSpec, directory: Path | None) -> None:
    """Find the examples and read the first; raises as ``prepare_examples`` does."""
    with open_dataset(spec, directory) as dataset:
        dataset.read(0)


def has_examples(spec: ModelSpec, directory: Path | None) -> bool:
    """Whether there are any: those of the directory, or those that come with the network."""
    return directory is not None or (
        spec.path.endswith(".py") and read_front_end(spec).data is not None
    )


def prepare_examples(
    spec: ModelSpec,
    directory: Path | None,
    *,
    cache_directory: Path,
    on_progress: Callable[[str], None],
) -> Examples:
    """Read every example, run it in eager PyTorch, and write both to the cache by their content.

    ``directory`` as in ``open_dataset``. Examples pass one at a time.

    Raises ``DataError``, and what building and running the network raises.
    """
    with (
        open_dataset(spec, directory) as dataset,
        reporting_full_disk(cache_directory),
        written_aside(cache_directory) as inputs_aside,
        written_aside(cache_directory) as outputs_aside,
    ):
        import torch

        from mobilekit.model.load import load_module
        from mobilekit.model.reference import run_eager

        module = load_module(spec)
        on_progress(f"Running {len(dataset.labels):,} examples in PyTorch")
        labels: tuple[int, ...] = ()
        with inputs_aside.open("wb") as inputs_file, outputs_aside.open("wb") as outputs_file:
            inputs, outputs = _Stack(inputs_file), _Stack(outputs_file)
            for index in range(len(dataset.labels)):
                example = dataset.read(index)
                output = run_eager(spec, module, (torch.from_numpy(example),))[0].numpy()
                # As soon as the number of classes is known: reading all may take long.
                labels = labels or class_indices(dataset, _classes(spec, output))
                inputs.append(example)
                outputs.append(output)
        files = []
        for stack, aside in ((inputs, inputs_aside), (outputs, outputs_aside)):
            file = stack.tensor_file()
            put_in_place(aside, cache_directory / Path(file.path).name)
            files.append(file)
        return Examples(
            directory=str(dataset.directory.absolute()),
            labels=labels,
            inputs=files[0],
            reference_outputs=files[1],
        )


def _classes(spec: ModelSpec, output: Array) -> int:
    if output.size < 2:
        raise DataError(
            f"{spec.name} does not classify: its first output is a single number",
            fix="Only a network whose first output has a score for each class can be evaluated.",
        )
    return output.size


class _Stack:
    """Arrays of one shape and type, appended to a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._count = 0
        self._shape: tuple[int, ...] = ()
        self._dtype = ""

    def append(self, array: Array) -> None:
        data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        self._file.write(data)
        self._digest.update(data)
        self._count += 1
        self._shape, self._dtype = array.shape, array.dtype.name

    def tensor_file(self) -> TensorFile:
        """What has been appended, as one tensor."""
        return TensorFile(
            sha256=self._digest.hexdigest(),
            dtype=cast(DType, self._dtype),
            shape=(self._count, *self._shape),
        )


CALIBRATING_EXAMPLES = 32


def split_examples(
    spec: ModelSpec, directory: Path | None, *, cache_directory: Path
) -> tuple[Path, Path]:
    """Some of the labelled examples as a ``.npy`` file to calibrate int8 with, a quarter of them
    at most, and the others as a directory that ``open_dataset`` reads: what a network is
    calibrated with must not tell its accuracy.

    ``directory`` as in ``open_dataset``. Which are which is drawn, the same each time. Raises
    ``DataError``, and what building and running the network raises.
    """
    import torch

    from mobilekit.model.load import load_module
    from mobilekit.model.reference import run_eager

    with open_dataset(spec, directory) as dataset:
        arrays = [dataset.read(index) for index in range(len(dataset.labels))]
        output = run_eager(spec, load_module(spec), (torch.from_numpy(arrays[0]),))[0].numpy()
        labels = np.array(class_indices(dataset, _classes(spec, output)))
    stacked = np.concatenate(arrays)
    drawn = np.random.default_rng(0).permutation(len(labels))
    count = min(CALIBRATING_EXAMPLES, len(labels) // 4)
    if count < 2:
        raise DataError(
            "There are too few examples to calibrate with some and evaluate with the others",
            examples=len(labels),
            fix="Give at least 8 labelled examples, or others for --calibration.",
        )
    calibrating, evaluating = np.sort(drawn[:count]), np.sort(drawn[count:])
    digest = hashlib.sha256(stacked.tobytes() + labels.tobytes()).hexdigest()[:16]
    target = cache_directory / f"examples-{digest}"
    calibration = cache_directory / f"calibration-{digest}.npy"
    with reporting_full_disk(cache_directory):
        _save(target, stacked[evaluating], labels[evaluating])
        np.save(calibration, stacked[calibrating])
    return calibration, target


def count_overlap(spec: ModelSpec, directory: Path | None, calibration: Path) -> int:
    """How many of the labelled examples are among those for calibration, byte by byte.

    Raises ``DataError``, and ``UsageError`` for calibration examples that do not fit.
    """
    calibrating = {
        hashlib.sha256(example[0].tobytes()).digest()
        for example in read_examples(calibration, spec)
    }
    with open_dataset(spec, directory) as dataset:
        return sum(
            hashlib.sha256(dataset.read(index).tobytes()).digest() in calibrating
            for index in range(len(dataset.labels))
        )


AGREEMENT_EXAMPLES = 200
AGREEMENT_SEED = 10_000
"""Of the first; int8 is calibrated on the inputs of the first seeds, which are not to judge it."""


def write_agreement(spec: ModelSpec, cache_directory: Path) -> Path:
    """Generated inputs, each with the class that the network itself tells as its label, in a
    directory as ``open_dataset`` reads it; how often another network is right on them is how
    often the two agree.

    Raises ``DataError`` for a network that takes not one example at a time or tells no class.
    """
    from mobilekit.model.load import load_module
    from mobilekit.model.reference import make_inputs, run_eager

    if len(spec.input_shapes) != 1 or spec.input_shapes[0][:1] != (1,):
        raise DataError(
            f"{spec.name} does not take one example at a time",
            inputs=", ".join(str(shape) for shape in spec.input_shapes),
            fix="Only a network with one input and a batch of 1 can be evaluated.",
        )
    directory = cache_directory / f"agreement-{spec.content_sha256[:16]}"
    module = load_module(spec)
    generated = [make_inputs(spec, AGREEMENT_SEED + each) for each in range(AGREEMENT_EXAMPLES)]
    outputs = [run_eager(spec, module, inputs)[0].numpy() for inputs in generated]
    _classes(spec, outputs[0])
    with reporting_full_disk(cache_directory):
        _save(
            directory,
            np.concatenate([inputs[0].numpy() for inputs in generated]),
            np.array([int(output.argmax()) for output in outputs]),
        )
    return directory


def _save(directory: Path, inputs: Array, labels: Array) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    np.save(directory / INPUTS, inputs)
    np.save(directory / LABELS, labels)
