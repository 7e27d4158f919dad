"""What the training scripts share."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from mobilekit.analysis.accuracy import wilson_interval

MODELS = Path(__file__).parents[1] / "models"


def model_file(name: str) -> ModuleType:
    """A packaged model file as a module, whether or not its weights are there yet."""
    spec = importlib.util.spec_from_file_location(name, MODELS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fit(
    build: Callable[[], nn.Module],
    make_inputs: Callable[[Tensor], Tensor],
    labels: Tensor,
    *,
    epochs: int,
    batch: int = 64,
) -> nn.Module:
    """A network trained to tell ``labels`` apart, in evaluation mode.

    ``make_inputs`` gives the inputs of the examples of these indices, altered at random where it
    likes. One thread and one seed, so that the same machine makes the same weights each time.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(0)
    network = build().train()
    optimizer = torch.optim.AdamW(network.parameters())
    batches = -(-len(labels) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=3e-3, total_steps=epochs * batches
    )
    for _ in range(epochs):
        for chosen in torch.randperm(len(labels)).split(batch):
            scores = network(make_inputs(chosen))
            loss = functional.cross_entropy(scores, labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def accuracy_text(network: nn.Module, inputs: Tensor, labels: Tensor) -> str:
    """The share that the network classifies rightly, with its 95 % interval."""
    with torch.no_grad():
        correct = int((network(inputs).argmax(1) == labels).sum())
    interval = wilson_interval(correct, len(labels))
    return (
        f"{correct} of {len(labels)}, {correct / len(labels):.1%} "
        f"[{interval.low:.1%}, {interval.high:.1%}]"
    )


def save_weights(network: nn.Module, path: Path, *, origin: str) -> None:
    """Write the network's state dict, with its source and licence in the file's own metadata."""
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    # One entry: the order of several is another in each process.
    save_file(state, path, metadata={"origin": origin})
    print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


def write_labels(directory: Path, labels: Iterable[tuple[str, int]]) -> None:
    """``labels.csv`` as ``mobilekit evaluate`` reads it."""
    with (directory / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "label"))
        writer.writerows(labels)


def write_arrays(directory: Path, inputs: Tensor, labels: Tensor) -> None:
    """``inputs.npy`` and ``labels.npy`` as ``mobilekit evaluate`` reads them."""
    directory.mkdir(parents=True, exist_ok=True)
    np.save(directory / "inputs.npy", inputs.numpy())
    np.save(directory / "labels.npy", labels.numpy())
