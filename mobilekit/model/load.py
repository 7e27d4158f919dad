"""Runs a model file: from its ``ModelSpec`` to a network with its weights. Imports torch."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from mobilekit.errors import ModelFileError
from mobilekit.model import foreign
from mobilekit.model.failures import describe_error, failing_line, is_own_file
from mobilekit.model.local_modules import Place, place_of
from mobilekit.model.quiet import quiet_python
from mobilekit.model.variants import apply_variant
from mobilekit.model.weights import load_weights
from mobilekit.model.whitening import measure_moments
from mobilekit.model.zoo import BUILD, needs_arguments
from mobilekit.records.network import ModelSpec


def load_module(spec: ModelSpec, on_progress: Callable[[str], None] = lambda _: None) -> nn.Module:
    """Build the network in evaluation mode, with its weights if it has any, for inference alone:
    no parameter needs a gradient.

    The file's code runs with torch's generator seeded, so that an untrained network is the same
    every time; the generator's state is put back afterwards. What it prints is dropped, because
    standard output is for results.

    A network that another tool has written is read as ``foreign`` does. One that is whitened runs
    its examples first.

    Raises ``ModelFileError`` if the file's code fails, ``WeightsError`` if the weights do not fit,
    ``UsageError`` where the variant does not.
    """
    is_model_file = Path(spec.path).suffix == ".py"
    module = _build(spec) if is_model_file else foreign.load_network(spec)
    # What its state is computed from would need one, too.
    module.requires_grad_(False)
    moments, compression = None, spec.variant.compression
    if compression is not None and spec.calibration_path is not None:
        on_progress("Running the examples that its ranks are whitened by")
        layers = [cut.layer for cut in compression.ranks]
        moments = measure_moments(spec, module, layers, Path(spec.calibration_path))
    return apply_variant(module, spec.variant, on_progress, moments)


def _build(spec: ModelSpec) -> nn.Module:
    """What the function or class ``spec.builder`` of a file makes, or a network of that name."""
    path, builder = Path(spec.path), spec.builder
    assert builder is not None
    place = place_of(path)
    with torch.random.fork_rng(devices=[]), quiet_python():
        torch.manual_seed(0)
        try:
            with _importable(place):
                made = getattr(_run_file(path, place), builder)
                if not isinstance(made, nn.Module):
                    _check_callable(made, path, builder)
                    made = made()
        except ModelFileError:
            raise
        except (Exception, SystemExit) as error:
            raise ModelFileError(
                f"{builder}() of {path.name} failed: {describe_error(error)}",
                fix=_fix_for(error, builder),
                at=failing_line(error, place.roots[0]) or path,
            ) from error
    if not isinstance(made, nn.Module):
        raise ModelFileError(
            f"{builder}() of {path.name} returned a {type(made).__name__}",
            fix="It must return a torch.nn.Module.",
            at=path,
        )
    if spec.weights_path is not None:
        load_weights(made, Path(spec.weights_path))
    return made.eval()


def _check_callable(made: object, path: Path, builder: str) -> None:
    """Raises ``ModelFileError`` for what is neither class nor function, or needs arguments."""
    if not callable(made):
        raise ModelFileError(
            f"{builder} of {path.name} is a {type(made).__name__}",
            fix="Name a class or function that makes the network, or a network.",
            at=path,
        )
    try:
        signature = inspect.signature(made)
    except (TypeError, ValueError):  # written in C
        return
    fixed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    arguments = tuple(
        name
        for name, each in signature.parameters.items()
        if each.default is inspect.Parameter.empty and each.kind not in fixed
    )
    if arguments:
        raise needs_arguments(path, builder, arguments)


@contextlib.contextmanager
def example_reader(spec: ModelSpec) -> Iterator[Callable[[Path], object]]:
    """The ``read_example`` of a model file, with the modules beside the file in reach.

    Raises ``ModelFileError`` if the file's code fails; what the function raises passes.
    """
    path = Path(spec.path)
    place = place_of(path)
    with _importable(place), quiet_python():
        try:
            read_example: Callable[[Path], object] = _run_file(path, place).read_example
        except (Exception, SystemExit) as error:
            raise ModelFileError(
                f"{path.name} cannot be run: {describe_error(error)}",
                fix=_fix_for(error, BUILD),
                at=failing_line(error, place.roots[0]) or path,
            ) from error
        yield read_example


def _fix_for(error: BaseException, builder: str) -> str:
    if isinstance(error, ModuleNotFoundError):
        return "Install it in mobilekit's environment, or put it beside the model file."
    return f"Correct the file; it must also run as `python -c 'import ...; {builder}()'` by itself."


def _run_file(path: Path, place: Place) -> ModuleType:
    if place.package:
        module = importlib.import_module(f"{place.package}.{path.stem}")
        if Path(module.__file__ or "").resolve() == path:
            return module
        raise ModelFileError(
            f"{path.name} lies in a package whose name, {place.package}, another one has",
            fix="Rename the folder, or copy it to where it has another name.",
            other=module.__file__,
            at=path,
        )
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
def _importable(place: Place) -> Iterator[None]:
    """Make the modules of a place importable, and forget them afterwards.

    Another model's folder may hold other modules of the same names.
    """
    before = set(sys.modules)
    path_before = list(sys.path)
    first, *others = map(str, place.roots)
    # Beside a package's own modules may lie some that are called like others'.
    sys.path[:] = [first, *path_before, *others]
    importlib.invalidate_caches()
    write_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = write_bytecode
        sys.path[:] = path_before
        own = []
        for name in set(sys.modules) - before:
            module = sys.modules[name]
            # A package without an __init__.py has no file, but folders, which it finds by those
            # above it: none may be forgotten yet.
            files = (getattr(module, "__file__", None), *getattr(module, "__path__", ()))
            if any(file and is_own_file(file, place.roots[0]) for file in files):
                own.append(name)
        for name in own:
            del sys.modules[name]
