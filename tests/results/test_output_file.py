"""Files that a person names: what is there is replaced, followed or written into."""

import os
import threading

import pytest

from mobilekit.errors import UsageError
from mobilekit.results.output_file import check_writable, write_file
from mobilekit.results.plot_file import check_plot_path, write_figure


class Drawing:
    """As much of a figure as is written."""

    def savefig(self, file, **options):
        file.write(f"drawn as {options['format']}".encode())


def test_a_file_is_replaced_whole(tmp_path):
    """Nothing is left beside it, and who has the old one open keeps it."""
    path = tmp_path / "x.json"
    path.write_text("old")

    with path.open() as before:
        write_file(path, b"new")
        assert before.read() == "old"

    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("is_there", [True, False], ids=["to a file", "to nothing yet"])
def test_a_link_is_followed(tmp_path, is_there):
    """It stays a link, and what it leads to is written."""
    target = tmp_path / "target"
    if is_there:
        target.write_text("old")
    link = tmp_path / "link.png"
    link.symlink_to("target")

    write_figure(Drawing(), link)

    assert link.is_symlink()
    assert target.read_text() == "drawn as png"


def test_a_pipe_is_written_into(tmp_path):
    """It is not replaced by a file, as no device is."""
    pipe = tmp_path / "x.svg"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()

    write_figure(Drawing(), pipe)
    reader.join(10)

    assert read == [b"drawn as svg"]
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (".", "it is a directory"),
        ("directory.png", "it is a directory"),
        ("none/x.png", "there is no such directory"),
        ("file/x.png", "there is no such directory"),
    ],
)
def test_where_no_file_can_be(tmp_path, monkeypatch, name, said):
    """It is found before there is anything to write, and again when there is; named as given."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "directory.png").mkdir()
    (tmp_path / "file").touch()
    path = type(tmp_path)(name)

    with pytest.raises(UsageError, match=said) as checked:
        check_writable(path)
    with pytest.raises(UsageError, match=said):
        write_file(path, b"")

    assert checked.value.facts["path"] == name
    if path.suffix:
        with pytest.raises(UsageError, match=said):
            check_plot_path(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_what_may_not_be_written_is_refused_before(tmp_path):
    """A file, or a directory, that its owner has closed."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)

    with pytest.raises(UsageError, match="permission denied"):
        check_writable(closed / "x.png")


def test_what_fails_in_the_middle_leaves_nothing(tmp_path):
    """Neither a part, nor a loss of what was there."""
    path = tmp_path / ("x" * 253)
    path.write_text("old")

    with pytest.raises(UsageError, match="too long"):
        write_file(path, b"new")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
