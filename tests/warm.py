"""Processes of mobilekit without their start: forked from one that has imported everything.

Importing PyTorch and the exporters takes a process seconds, and a suite that starts hundreds of
processes spends its time so. Here ``python -m mobilekit...`` is a real process all the same, with
a pid, memory, signals and an environment of its own; it only begins where the imports are done. So
are the processes that share the tests.

``python tests/warm.py DESCRIPTOR``, of a socket that listens, is that process, the nursery. It
imports nothing before it is asked for the first time, and ends with its standard input.
``WarmPopen`` asks it.
"""

from __future__ import annotations

import atexit
import ctypes
import faulthandler
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

SOCKET_VARIABLE = "MOBILEKIT_TEST_NURSERY"
STATUS = struct.Struct("i")
PACKAGE = "mobilekit"
OURS = (PACKAGE, "simulated_lab")
"""What of ``python -m`` is forked: the command, and the hosts of ``tests/simulated_lab.py``."""
WORKER = ["-u", "-c", "import sys;exec(eval(sys.stdin.readline()))"]
"""What pytest-xdist starts Python with, for each process that takes a share of the tests. Another
release may start it otherwise: then its workers import for themselves what they need."""
VIRTUAL_COMPANION = "mobilekit.virtual.companion"
REST_S = 0.002
MANY_FDS = 1000
"""Above all numbers that a program is given descriptors under."""
MADV_COLLAPSE = 25
"""Linux' (6.1), which ``mmap`` does not name. An older one refuses it."""
HUGE_PAGE_BYTES = 2 * 1024 * 1024

PRELOADED = (
    *("adbutils", "dbos", "jsonschema", "matplotlib.figure", "numpy", "pandas", "pytest"),
    *("pydantic.type_adapter", "xdist.remote"),
    *("rich._emoji_codes", "rich.console", "rich.table", "safetensors.torch"),
    *("scipy.cluster.vq", "scipy.stats", "sqlalchemy.orm", "tomllib", "typer", "typer._adapters"),
    *("torch", "torchvision", "torch.export", "torch.onnx"),
    *("executorch.exir", "executorch.backends.xnnpack.partition.xnnpack_partitioner"),
    *("executorch.extension.pybindings._C", "torchao.quantization.pt2e.quantize_pt2e"),
    *("executorch.backends.xnnpack.quantizer.xnnpack_quantizer",),
    *("onnx", "onnxscript", "onnx2torch"),
    *("ai_edge_litert.interpreter", "ai_edge_quantizer.quantizer", "litert_torch"),
)

NOT_PRELOADED = ("__main__", ".onnx_engine")
"""ONNX Runtime has a thread as soon as it is imported, which no fork has."""


# --- who asks ----------------------------------------------------------------------------------


def interruptible() -> None:
    """Whoever runs the tests in the background has interrupts ignored, and so its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


FreshPopen = subprocess.Popen
"""Of processes that import for themselves what they need, as a user's do."""


class WarmPopen(subprocess.Popen):
    """``subprocess.Popen``, which has ``python -m mobilekit...`` and workers forked by the nursery.

    Every other command starts as ever, and so does one that tells Python itself something by its
    environment, or that is to be prepared in a way that the nursery does not know.
    """

    _nursery: socket.socket | None = None

    def _execute_child(self, args: Any, *rest: Any) -> None:
        executable, preexec_fn, _close_fds, pass_fds, cwd, env = rest[:6]
        words = [os.fsdecode(word) for word in args] if isinstance(args, (list, tuple)) else []
        environment = {os.fsdecode(k): os.fsdecode(v) for k, v in (env or os.environ).items()}
        is_ours = words[1:2] == ["-m"] and words[2].partition(".")[0] in OURS
        if (
            words[:1] != [sys.executable]
            or not (is_ours or words[1:] == WORKER)
            or executable is not None
            or preexec_fn not in (None, interruptible)
            or _python_settings(environment) != _python_settings(os.environ)
        ):
            super()._execute_child(args, *rest)
            return
        pipes = rest[9:15]
        child_ends = [pipes[0], pipes[3], pipes[5]]
        standard = [number if end == -1 else end for number, end in enumerate(child_ends)]
        order = {
            "words": words[1:],
            "directory": os.fspath(cwd or Path.cwd()),
            "environment": environment,
            "targets": [0, 1, 2, *pass_fds],
        }
        self._nursery = _connect()
        message = json.dumps(order).encode()
        socket.send_fds(
            self._nursery, [STATUS.pack(len(message))], [*standard, *map(int, pass_fds)]
        )
        self._nursery.sendall(message)
        self._close_pipe_fds(*pipes)
        pid = b""
        with suppress(ConnectionResetError):
            pid = self._nursery.recv(STATUS.size, socket.MSG_WAITALL)
        if not pid:
            raise ChildProcessError(f"The nursery has ended: {log_path().read_text()[-2000:]}")
        self.pid = STATUS.unpack(pid)[0]
        self._child_created = True

    def _internal_poll(self, *arguments: Any, **options: Any) -> int | None:
        if self._nursery is None:
            return super()._internal_poll(*arguments, **options)
        with suppress(subprocess.TimeoutExpired):
            self._wait(0)
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self._nursery is None:
            return super()._wait(timeout)
        if self.returncode is None:
            with self._waitpid_lock:
                self._nursery.settimeout(timeout)
                try:
                    told = self._nursery.recv(STATUS.size)
                except (TimeoutError, BlockingIOError):
                    raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
                # A nursery that has ended tells nothing.
                self.returncode = STATUS.unpack(told)[0] if told else -signal.SIGKILL
                self._nursery.close()
        return self.returncode


def _python_settings(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith("PYTHON")}


def log_path() -> Path:
    """What the nursery says, and the processor time of each process that it had."""
    return Path(os.environ[SOCKET_VARIABLE]).with_suffix(".log")


def _connect() -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(os.environ[SOCKET_VARIABLE])
    return client


@contextmanager
def running_nursery(directory: Path) -> Iterator[None]:
    """A nursery that ``WarmPopen`` finds by the environment, also in child processes."""
    os.environ[SOCKET_VARIABLE] = str(directory / "nursery")
    with socket.socket(socket.AF_UNIX) as listener, log_path().open("wb") as log:
        listener.bind(os.environ[SOCKET_VARIABLE])
        listener.listen(100)
        process = FreshPopen(
            [sys.executable, __file__, str(listener.fileno())],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
        )
    try:
        yield
    finally:
        del os.environ[SOCKET_VARIABLE]
        process.communicate()


# --- the nursery -------------------------------------------------------------------------------


class Order(NamedTuple):
    words: list[str]
    directory: str
    environment: dict[str, str]
    descriptors: dict[int, int]
    """What was sent, by what the program knows it as."""


def receive(client: socket.socket) -> Order:
    head, sent, _, _ = socket.recv_fds(client, STATUS.size, 64)
    (length,) = STATUS.unpack(head)
    data = client.recv(length, socket.MSG_WAITALL)
    order = json.loads(data)
    descriptors = dict(zip(order["targets"], sent, strict=True))
    return Order(order["words"], order["directory"], order["environment"], descriptors)


def serve(listener: socket.socket) -> Order:
    """Fork a process for each order. Returns in those processes only."""
    running: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(sys.stdin.buffer, selectors.EVENT_READ)
        loaded, words = False, {}
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    if not loaded:
                        preload()
                        loaded = True
                    client, _ = listener.accept()
                    try:
                        order = receive(client)
                    except (OSError, ValueError, struct.error):
                        client.close()  # Whoever asked was killed in the middle of it.
                        continue
                    pid = os.fork()
                    if pid == 0:
                        # Their numbers become the program's: to close them later would close those.
                        selector.close()
                        for each in (listener, client, *running.values()):
                            each.detach()
                        become(order)
                        return order
                    for descriptor in order.descriptors.values():
                        os.close(descriptor)
                    with suppress(OSError):  # Whoever asked may be gone.
                        client.sendall(STATUS.pack(pid))
                    ending = os.pidfd_open(pid)
                    running[ending] = client
                    words[pid] = order.words
                    selector.register(ending, selectors.EVENT_READ, pid)
                elif key.fileobj is sys.stdin.buffer:
                    os._exit(0)
                else:
                    _, status, used = os.wait4(key.data, 0)
                    seconds = used.ru_utime + used.ru_stime
                    print(f"{seconds:.2f} s", *words.pop(key.data)[1:], flush=True)
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    with suppress(OSError), running.pop(key.fd) as client:
                        client.sendall(STATUS.pack(os.waitstatus_to_exitcode(status)))


def preload() -> None:
    package = importlib.import_module(PACKAGE)
    modules = [each.name for each in pkgutil.walk_packages(package.__path__, f"{PACKAGE}.")]
    for name in (*PRELOADED, *modules):
        if not name.endswith(NOT_PRELOADED):
            with suppress(ImportError):  # Of an extra that is not installed.
                importlib.import_module(name)
    _export_once()
    assert "onnxruntime" not in sys.modules
    # JAX's swallows an interrupt that comes meanwhile; no command but an export imports it.
    gc.callbacks.clear()
    # What is there stays shared with the forked processes.
    gc.collect()
    gc.freeze()
    _use_huge_pages()


def _use_huge_pages() -> None:
    """Forks go through all pages, and so does the end of each: together 30 ms less of 45."""
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, permissions, _, _, _, *name = line.split(maxsplit=5)
        if permissions == "rw-p" and name in ([], ["[heap]"]):
            start, end = (int(each, 16) for each in addresses.split("-"))
            first = -(-start // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES
            length = end // HUGE_PAGE_BYTES * HUGE_PAGE_BYTES - first
            if length > 0:
                libc.madvise(first, length, MADV_COLLAPSE)


def _export_once() -> None:
    """The exporters prepare what they look for with the first network, for seconds."""
    import torch

    # With more there would be threads, which no forked process has.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    from mobilekit.model.onnx import translate
    from mobilekit.model.spared_work import sparing_lowering
    from mobilekit.records.network import Variant

    exported = torch.export.export(torch.nn.Linear(1, 1).eval(), (torch.zeros(1, 1),))
    with sparing_lowering(Variant()):
        to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    translate(None, exported)  # The network's file, which only a failure would name.
    torch.set_num_threads(threads)


def become(order: Order) -> None:
    """Give the forked process its descriptors, its directory and its environment."""
    high = {
        target: fcntl.fcntl(sent, fcntl.F_DUPFD, MANY_FDS)
        for target, sent in order.descriptors.items()
    }
    os.closerange(3, MANY_FDS)
    for target, sent in high.items():
        os.dup2(sent, target)
    os.closerange(MANY_FDS, 2 * MANY_FDS)
    os.environ.clear()
    os.environ.update(order.environment)
    os.chdir(order.directory)
    sys.path[0] = order.directory
    sys.argv = ["-m", *order.words[2:]] if order.words[0] == "-m" else ["-c"]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    atexit._clear()  # What libraries do at the end of the process that imported them.
    subprocess.Popen = WarmPopen


def shorten_fast() -> None:
    """No test looks at how long inferences are repeated with ``--fast``; hundreds wait for it."""
    from msgspec.structs import replace

    from mobilekit.presets import PRESETS
    from mobilekit.units import NS_PER_MS

    PRESETS["fast"] = replace(PRESETS["fast"], min_duration_ns=50 * NS_PER_MS)


def rest_between_inferences() -> None:
    """Runs of seconds are there for what happens meanwhile: they need not fill a processor, nor
    tell hundreds of thousands of latencies. Those of ``--fast`` are left alone."""
    from mobilekit.presets import PRESETS
    from mobilekit.runner import run

    whole = run.iterate

    def iterate(
        execute: Callable[[], object],
        clock_ns: Callable[[], int],
        *,
        min_duration_ns: int,
        **bounds: int,
    ) -> list[int]:
        def execute_and_rest() -> None:
            execute()
            time.sleep(REST_S)

        rests = min_duration_ns > PRESETS["fast"].min_duration_ns
        return whole(
            execute_and_rest if rests else execute,
            clock_ns,
            min_duration_ns=min_duration_ns,
            **bounds,
        )

    run.iterate = iterate


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # It ends when the tests have ended.
    order = serve(socket.socket(fileno=int(sys.argv[1])))
    faulthandler.enable()  # What crashes says where.
    warnings.filterwarnings("ignore", message=".*found in sys.modules", category=RuntimeWarning)
    status = 0
    try:
        if order.words == WORKER:
            exec(order.words[-1], {"__name__": "__main__"})
        else:
            shorten_fast()
            if order.words[1] == VIRTUAL_COMPANION:
                rest_between_inferences()
            runpy.run_module(order.words[1], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except KeyboardInterrupt:
        traceback.print_exc()
        status = -signal.SIGINT
    except BaseException:
        traceback.print_exc()
        status = 1
    # As at the end of Python, but for taking down all that was imported.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


if __name__ == "__main__":
    sys.modules["warm"] = sys.modules["__main__"]
    main()
