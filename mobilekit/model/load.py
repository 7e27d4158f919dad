"""Runs a model file: from its ``ModelSpec`` to a network with its weights. Imports torch."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from mobilekit.errors import ExportError, MobilekitError, ModelFileError
from mobilekit.model import foreign
from mobilekit.model.quiet import quiet_python
from mobilekit.model.variants import swap_activations
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
    path = Path(spec.path)
    if path.suffix != ".py":
        return foreign.load_network(spec)
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
    if spec.activation is not None:
        swap_activations(module, spec.activation)
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


@contextlib.contextmanager
def running_code_of(spec: ModelSpec) -> Iterator[None]:
    """Turn what the network's ``forward`` raises into an ``ExportError``, and keep it quiet."""
    try:
        with quiet_python():
            yield
    except MobilekitError:
        raise
    except Exception as error:
        shapes = zip(spec.input_dtypes, spec.input_shapes, strict=True)
        raise ExportError(
            f"{spec.name} fails in PyTorch: {describe_error(error)}",
            fix="Check that INPUT_SHAPES and INPUT_DTYPES are what forward() takes.",
            at=failing_line(error, Path(spec.path).parent) or spec.path,
            inputs=", ".join(f"{dtype} {shape}" for dtype, shape in shapes),
        ) from error


def describe_error(error: BaseException) -> str:
    """An exception's type and the first thing that it says, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # "These operators are taking inputs of mismatched dtypes:" says nothing without the next.
    said = lines[:2] if lines and lines[0].endswith(":") else lines[:1]
    return f"{type(error).__name__}: {' '.join(said)}" if said else type(error).__name__


def failing_line(error: BaseException, directory: Path) -> str | None:
    """``file:line`` of the innermost statement of the user's own code on the way to ``error``.

    ``None`` if no file below ``directory`` takes part.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    own = [
        f"{frame.filename}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if _is_own(frame.filename, directory)
    ]
    return own[-1] if own else None


def _is_own(file: str, directory: Path) -> bool:
    """Whether the file is the user's; an environment may lie in the same directory."""
    return Path(file).is_relative_to(directory) and "site-packages" not in Path(file).parts


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
            if file and _is_own(file, directory):
                del sys.modules[name]
