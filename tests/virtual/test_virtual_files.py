"""The phone's files: nothing leaves the root, and storage has an end."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mobilekit.virtual.files import PhoneFiles

TMP = "/data/local/tmp"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    return PhoneFiles(_root(tmp_path), {"/proc/meminfo": lambda: "MemTotal: 1 kB\n"})


def _root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir(exist_ok=True)
    return root


def _code(function, *args, **options):
    try:
        function(*args, **options)
    except OSError as error:
        return error.errno
    return None


paths = st.lists(
    st.sampled_from(["..", ".", "", "a", "link", "up", "loop", "data", "local", "tmp", "secret"])
    | st.text(max_size=4),
    max_size=8,
).map("/".join)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=paths, target=paths)
def test_no_path_and_no_link_leaves_the_root(tmp_path, path, target):
    """Whatever a link says and wherever a path goes, the result is below the root."""
    root = _root(tmp_path)
    files = PhoneFiles(root, {})
    for name, text in (("link", target or "x"), ("up", "../" * 9), ("loop", "loop")):
        place = root / TMP[1:] / name
        if not place.is_symlink():
            place.symlink_to("x")
        place.unlink()
        try:
            files.make_link(text, f"{TMP}/{name}")
        except (OSError, ValueError):
            files.make_link("x", f"{TMP}/{name}")
    for asked in (path, f"/{path}", f"{TMP}/{path}", f"{TMP}/link/{path}", f"{TMP}/up/{path}"):
        try:
            host = files.host_path(asked)
        except OSError:
            continue
        assert host == root or root in host.parents
        # No link is left in it that the operating system would follow.
        assert Path(os.path.realpath(host)) == Path(os.path.realpath(root)) / host.relative_to(root)


def test_links_are_followed_within_the_phone(files, tmp_path):
    files.make_link("/", f"{TMP}/root")
    files.make_link(str(tmp_path / "outside"), f"{TMP}/outside")
    files.write_bytes(f"{TMP}/file", b"x")
    assert files.read_bytes(f"{TMP}/root{TMP}/file") == b"x"
    assert files.resolve(f"{TMP}/root/../..") == "/"
    assert _code(files.read_bytes, f"{TMP}/outside/secret") == errno.ENOENT
    assert _code(files.write_bytes, f"{TMP}/outside/new", b"x") == errno.ENOENT
    assert _code(files.write_bytes, f"{TMP}/root/new", b"x") == errno.EROFS
    files.make_link("loop", f"{TMP}/loop")
    assert _code(files.read_bytes, f"{TMP}/loop") == errno.ELOOP
    assert _code(files.read_bytes, f"{TMP}/a\0b") == errno.EINVAL


def test_places_that_cannot_be_written_or_seen(files):
    assert _code(files.write_bytes, "/system/x", b"") == errno.EROFS
    assert _code(files.write_bytes, "/proc/x", b"") == errno.EROFS
    assert _code(files.write_bytes, "/data/x", b"") == errno.EACCES
    assert _code(files.remove_directory, TMP) == errno.EACCES
    assert _code(files.remove_file, "/sdcard") == errno.EROFS
    assert _code(files.list_names, "/data") == errno.EACCES
    assert _code(files.rename, TMP, "/sdcard/x") == errno.EACCES
    assert _code(files.read_bytes, TMP) == errno.EISDIR
    assert files.list_names("/proc") == ["meminfo"]
    assert files.read_bytes("/proc/meminfo") == b"MemTotal: 1 kB\n"


def test_storage_has_an_end_and_deleting_makes_room(files):
    files.quota_bytes = files.used_bytes() + 1000
    files.write_bytes(f"{TMP}/a", bytes(900))
    assert _code(files.write_bytes, f"{TMP}/b", bytes(200)) == errno.ENOSPC
    files.remove_file(f"{TMP}/a")
    files.write_bytes(f"{TMP}/b", bytes(200))
    assert files.read_bytes(f"{TMP}/b") == bytes(200)


def test_a_slash_at_the_end_means_a_directory(files):
    """Clients ask for `FILE/` to learn whether it is one."""
    files.create(f"{TMP}/file", 0o644).close()
    files.make_link("file", f"{TMP}/link")

    for path in (f"{TMP}/file", f"{TMP}/link", "/proc/meminfo", "/dev/null"):
        assert _code(files.status, f"{path}/", follow=False) == errno.ENOTDIR
    assert _code(files.status, "/sdcard/", follow=False) is None
    assert _code(files.status, f"{TMP}/nothing/") == errno.ENOENT
