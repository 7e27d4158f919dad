"""What the host put below the input root."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mobilekit.contract.checks import decode_request, run_directory
from mobilekit.contract.outputs import Array, tensor_bytes
from mobilekit.contract.protocol import File, RunRequest, TensorFile
from mobilekit.errors import OtherVersionError, ProtocolError
from mobilekit.hashing import file_sha256
from mobilekit.runner.failures import RunStopped


class InputFiles:
    """Each is read when it is needed; one that is not as the request says raises ``RunStopped``."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def request(self, run_id: str) -> RunRequest:
        path = self._root / run_directory(run_id) / "request.json"
        try:
            request = decode_request(path.read_bytes())
        except FileNotFoundError:
            raise RunStopped("file_missing", f"no {path.name} of run {run_id}") from None
        except OtherVersionError as error:
            raise RunStopped("protocol_version", error.what) from None
        except ProtocolError as error:
            raise RunStopped("bad_request", error.what) from None
        if request.run_id != run_id:
            raise RunStopped("bad_request", f"$.run_id: {request.run_id!r} is not {run_id!r}")
        return request

    def path(self, file: File) -> Path:
        return self._root / file.path

    def verified(self, file: File) -> Path:
        path = self.path(file)
        try:
            found = file_sha256(path)
        except FileNotFoundError:
            raise RunStopped("file_missing", f"{file.path} is not there") from None
        if found != file.sha256:
            raise RunStopped("file_corrupt", f"{file.path} has the SHA-256 {found}")
        return path

    def tensor(self, tensor: TensorFile) -> Array:
        data = self.verified(tensor).read_bytes()
        try:
            flat = np.frombuffer(bytearray(data), dtype=np.dtype(tensor.dtype).newbyteorder("<"))
            return flat.reshape(tensor.shape)
        except ValueError as error:
            raise RunStopped("bad_request", f"{tensor.path}: {error}") from None

    def verify_tensor(self, tensor: TensorFile) -> None:
        """All that ``tensor`` finds out, but without reading them into memory."""
        size_bytes = self.verified(tensor).stat().st_size
        if size_bytes != tensor_bytes(tensor):
            raise RunStopped(
                "bad_request",
                f"{tensor.path}: {size_bytes} bytes are no {tensor.dtype} {tensor.shape}",
            )

    def examples(self, stack: TensorFile) -> Iterator[Array]:
        """One after the other, each in the same memory."""
        example = np.empty(stack.shape[1:], np.dtype(stack.dtype).newbyteorder("<"))
        with self.path(stack).open("rb") as file:
            for _ in range(stack.shape[0]):
                if file.readinto(example.data) != example.nbytes:
                    raise RunStopped("file_corrupt", f"{stack.path} became shorter")
                yield example
