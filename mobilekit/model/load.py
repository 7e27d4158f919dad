"""Runs a model file: from its ``ModelSpec`` to a network with its weights. Imports torch."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from mobilekit.errors import ModelFileError
from mobilekit.model import foreign
from mobilekit.model.failures import describe_error, failing_line, is_own_file
from mobilekit.model.quiet import quiet_python
from mobilekit.model.variants import apply_variant
from mobilekit.model.weights import load_weights
from mobilekit.records.network import ModelSpec


def load_module(spec: ModelSpec) -> nn.Module:
    """Build the network in evaluation mode, with its weights if it has any.

    ``build`` runs with torch's generator seeded, so that an untrained network is the same every
    time; the generator's state is put back afterwards. What ``build`` prints is dropped, because
    standard output is for results.

    A network that another tool has written is read as ``foreign`` does.

    Raises ``ModelFileError`` if the file's code fails, ``WeightsError`` if the weights do not fit.
    """
    is_model_file = Path(spec.path).suffix == ".py"
    module = _build(spec) if is_model_file else foreign.load_network(spec)
    return apply_variant(module, spec.variant)


def _build(spec: ModelSpec) -> nn.Module:
    """What the ``build`` of a model file makes."""
    path = Path(spec.path)
    with torch.random.fork_rng(devices=[]), quiet_python():
        torch.manual_seed(0)
        try:
            with _importable_siblings(path.parent):
                module = _run_file(path).build()
        except (Exception, SystemExit) as error:
            raise ModelFileError(
                f"build() of {path.name} failed: {describe_error(error)}",
                fix=_fix_for(error),
                at=failing_line(error, path.parent) or path,
            ) from error
    if not isinstance(module, nn.Module):
        raise ModelFileError(
            f"build() of {path.name} returned a {type(module).__name__}",
            fix="It must return a torch.nn.Module.",
            at=path,
        )
    if spec.weights_path is not None:
        load_weights(module, Path(spec.weights_path))
    return module.eval()


@contextlib.contextmanager
def example_reader(spec: ModelSpec) -> Iterator[Callable[[Path], object]]:
    """The ``read_example`` of a model file, with the modules beside the file in reach.

    Raises ``ModelFileError`` if the file's code fails; what the function raises passes.
    """
    path = Path(spec.path)
    with _importable_siblings(path.parent), quiet_python():
        try:
            read_example: Callable[[Path], object] = _run_file(path).read_example
        except (Exception, SystemExit) as error:
            raise ModelFileError(
                f"{path.name} cannot be run: {describe_error(error)}",
                fix=_fix_for(error),
                at=failing_line(error, path.parent) or path,
            ) from error
        yield read_example


def _fix_for(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return "Install it in mobilekit's environment, or put it beside the model file."
    return "Correct the file; it must also run as `python -c 'import ...; build()'` by itself."


def _run_file(path: Path) -> ModuleType:
    # The name is no one else's: a file called `random.py` must not become `random`.
    name = f"_mobilekit_model_{path.stem}"
    file_spec = importlib.util.spec_from_file_location(name, path)
    assert file_spec is not None
    assert file_spec.loader is not None
    module = importlib.util.module_from_spec(file_spec)
    # Dataclasses look their module up while it runs.
    sys.modules[name] = module
    file_spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _importable_siblings(directory: Path) -> Iterator[None]:
    """Make modules in ``directory`` importable, and forget them afterwards.

    Another model's folder may hold other modules of the same names.
    """
    before = set(sys.modules)
    sys.path.insert(0, str(directory))
    write_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = write_bytecode
        sys.path.remove(str(directory))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and is_own_file(file, directory):
                del sys.modules[name]
