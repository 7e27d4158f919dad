"""A computer's wall clock that jumps, as one does that asks a time server, for processes that start
with it; their monotonic clock goes on, as the kernel's does."""

from __future__ import annotations

import subprocess
from pathlib import Path

LIBRARY = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long ahead_s(void) {
    char text[32] = {0};
    const char *path = getenv("MOBILEKIT_TEST_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    ssize_t got = read(file, text, sizeof text - 1);
    close(file);
    return got > 0 ? atol(text) : 0;
}

int clock_gettime(clockid_t id, struct timespec *at) {
    int failed = syscall(SYS_clock_gettime, id, at);
    if (!failed && id == CLOCK_REALTIME) at->tv_sec += ahead_s();
    return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    int failed = clock_gettime(CLOCK_REALTIME, &exact);
    at->tv_sec = exact.tv_sec;
    at->tv_usec = exact.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *at) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (at) *at = exact.tv_sec;
    return exact.tv_sec;
}
"""


class JumpingClock:
    """The wall clock of every process with ``environment``; it is right until it is told to
    jump."""

    def __init__(self, directory: Path) -> None:
        self._told = directory / "ahead_s"
        library = directory / "jumping_clock.so"
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", str(library)],
            input=LIBRARY.encode(),
            check=True,
        )
        self.environment = {
            "LD_PRELOAD": str(library),
            "MOBILEKIT_TEST_CLOCK": str(self._told),
        }

    def jump_to(self, ahead_s: int) -> None:
        """So far ahead of the right time, or behind it."""
        aside = self._told.with_suffix(".new")
        aside.write_text(str(ahead_s), encoding="ascii")
        aside.replace(self._told)
