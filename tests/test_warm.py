"""Processes that the tests fork have what was given to them."""

import fcntl
import os
import select
import subprocess
import sys

from following import wait_for
from warm import WarmPopen

from mobilekit.virtual.companion_settings import STANDARD_INPUT


def test_a_forked_process_keeps_its_pipes(phone):
    """Also where their numbers are those that the nursery has for other processes."""

    def start(number, **given):
        words = ["mobilekit.virtual.companion", phone.directory, f"run-{number}", STANDARD_INPUT]
        command = [sys.executable, "-m", *map(str, words)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, **given)

    pipes, ended = [], select.poll()
    for _ in range(30):
        reading, writing = os.pipe()
        # High, so that the ends for writing have all low numbers that are free.
        pipes.append((fcntl.fcntl(reading, fcntl.F_DUPFD, 500), writing))
        os.close(reading)
    processes = [start(number) for number in range(15)]
    processes.append(start(15, pass_fds=[writing for _, writing in pipes]))
    for reading, writing in pipes:
        os.close(writing)
        ended.register(reading, select.POLLIN)

    wait_for(lambda: list(phone.directory.rglob("run-15/progress.jsonl")))
    lost = ended.poll(0)
    for process in processes:
        process.kill()
        process.communicate()

    assert all(isinstance(process, WarmPopen) for process in processes)
    assert lost == []
    assert len(ended.poll(10_000)) == len(pipes)
    for reading, _ in pipes:
        os.close(reading)
