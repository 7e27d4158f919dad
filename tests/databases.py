"""Databases for tests of the store: a file, and a PostgreSQL server of the tests' own."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa

ROLE = "mobilekit"
START_S = 30


def postgres_program(name: str) -> str | None:
    """Of the newest PostgreSQL here; Debian's are on nobody's ``PATH``."""
    found = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3])
    )
    return str(found[-1]) if found else shutil.which(name)


def _free_port() -> int:
    """Below those that are given to clients: one that asks for a server that is away could be given
    its port, and keep it from coming back."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Postgres:
    """A server with a directory, a port and a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg://{ROLE}@127.0.0.1:{self.port}/{database}"

    def initialize(self) -> None:
        program = postgres_program("initdb")
        assert program is not None
        words = ["--no-sync", "--auth=trust", f"--username={ROLE}", "--encoding=UTF8"]
        subprocess.run(
            [*self._as_nobody_special(), program, *words, "--pgdata", str(self.directory)],
            check=True,
            capture_output=True,
            cwd="/",
        )

    def start(self) -> None:
        """Anew where it ends at once: its last one's children may still hold its memory."""
        deadline_s = time.monotonic() + START_S
        while True:
            if self.process is None or self.process.poll() is not None:
                self.process = self._begin()
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    self.execute("SELECT 1")
                    return
            except (OSError, sa.exc.OperationalError):
                assert time.monotonic() < deadline_s, "PostgreSQL does not come up"
                time.sleep(0.2)

    def _begin(self) -> subprocess.Popen[bytes]:
        program = postgres_program("postgres")
        assert program is not None
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": "100",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.directory.parent / "postgres.log").open("ab") as log:
            return subprocess.Popen(
                [
                    *self._as_nobody_special(),
                    *(program, "-D", str(self.directory), "-p", str(self.port), *options),
                ],
                stdout=log,
                stderr=log,
                cwd="/",
            )

    def stop(self, *, abruptly: bool = False) -> None:
        """By its process id; ``abruptly`` its connections are cut off."""
        if self.process is not None:
            # SIGINT is PostgreSQL's fast shutdown, SIGQUIT that without a checkpoint.
            self.process.send_signal(3 if abruptly else 2)
            self.process.wait(30)
            self.process = None

    def execute(self, command: str, database: str = "postgres") -> None:
        engine = sa.create_engine(self.url(database), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(sa.text(command))
        finally:
            engine.dispose()

    def _as_nobody_special(self) -> list[str]:
        """The server refuses to be run by root."""
        if os.geteuid() != 0:
            return []
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


@contextmanager
def running_postgres(directory: Path) -> Iterator[Postgres]:
    """Raises ``pytest.skip`` where there is none, or nobody who may run it."""
    if postgres_program("postgres") is None or postgres_program("initdb") is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    pytest.importorskip("psycopg")
    data = directory / "data"
    data.mkdir(parents=True)
    if os.geteuid() == 0:
        with suppress(KeyError):
            user = pwd.getpwnam("postgres")
            for each in (directory, data):
                os.chown(each, user.pw_uid, user.pw_gid)
        # pytest's directories are for nobody else.
        for parent in [directory, *directory.parents]:
            if parent == Path("/tmp") or parent == Path("/"):
                break
            parent.chmod(parent.stat().st_mode | 0o011)
    data.chmod(0o700)
    server = Postgres(data)
    server.initialize()
    server.start()
    try:
        yield server
    finally:
        server.stop()
