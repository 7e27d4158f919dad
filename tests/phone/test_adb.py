"""adb's and adbutils' traps, each met on a virtual phone behind a real adb server."""

import hashlib
import socket
import struct
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from types import SimpleNamespace

import pytest
from adbutils.errors import AdbTimeout
from servers import running_adb_server

from mobilekit.contract.protocol import INPUT_ROOT, ArtifactFile
from mobilekit.errors import (
    AdbServerError,
    DeviceError,
    DisconnectedError,
    PhoneError,
    TimedOutError,
    UsageError,
)
from mobilekit.phone.adb import (
    AdbServer,
    Phone,
    _Answer,
)
from mobilekit.phone.profiles import load_profiles
from mobilekit.phone.runs import deliver
from mobilekit.phone.server_address import (
    split_server,
)
from mobilekit.virtual.faults import Faults

TARGET = "/data/local/tmp/file.bin"
LIMIT = 2**27


@pytest.fixture
def handle(phone):
    return AdbServer(phone.server.port).phone(phone.serial)


@pytest.fixture
def big_file(tmp_path):
    path = tmp_path / "big.bin"
    path.write_bytes(bytes(range(256)) * 4096 * 64)
    return path


def ignore(_size_bytes):
    pass


def test_a_shell_gives_output_and_exit_code(handle):
    """Output is bytes as the phone wrote them; a failure raises with the phone's words."""
    assert handle.shell("echo hello").text == "hello\n"
    assert handle.shell("false", check=False).exit_code == 1
    with pytest.raises(PhoneError) as caught:
        handle.shell("cat /data/local/tmp/missing")
    assert "No such file or directory" in str(caught.value)
    assert caught.value.facts["command"] == "cat /data/local/tmp/missing"


class OldDevice:
    """adbutils' handle of an Android 6 phone: a shell ends with its stream, and lines by CRLF."""

    def __init__(self, printed):
        self._printed = printed

    def get_features(self):
        return ""

    @contextmanager
    def open_transport(self, timeout):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(timeout)
            sent = []
            yield SimpleNamespace(
                conn=ours,
                send_command=sent.append,
                check_okay=lambda: self._answer(theirs, sent[0]),
            )

    def _answer(self, stream, command):
        assert command.startswith("shell:cat file; echo ")
        assert command.endswith("$?")
        stream.sendall(self._printed.replace(b"END", command.split()[-1][:-2].encode()))
        stream.shutdown(socket.SHUT_WR)


def old_phone(printed):
    return Phone(OldDevice(printed), "N7", AdbServer(1)._translated)


def test_an_old_shell_has_its_line_ends_mended():
    """What comes through a terminal reads like what the command wrote."""
    answer = old_phone(b"one\r\ntwo\r\nEND3\r\n").shell("cat file", check=False)

    assert answer.text == "one\ntwo\n"
    assert answer.exit_code == 3


@pytest.mark.parametrize("printed", [b"", b"one\r\n", b"one\r\nEND\r\n", b"one\r\nENDx\r\n"])
def test_an_old_shell_without_its_end_is_no_answer(printed):
    """A link that broke is not taken for the end of what a command printed."""
    with pytest.raises(DisconnectedError):
        old_phone(printed).shell("cat file")


def test_a_phone_that_prints_without_end(handle, big_file):
    """No more is taken than can be an answer, of a shell or of a file."""
    handle.push(big_file, TARGET, on_bytes=ignore)

    with pytest.raises(PhoneError, match="more than can be an answer"):
        handle.shell(f"cat {TARGET}")
    with pytest.raises(PhoneError, match="longer than the 1000 bytes"):
        handle.pull(TARGET, big_file.with_name("back"), limit_bytes=1000)


def test_a_phone_that_only_trickles(monkeypatch):
    """A byte now and then keeps no command alive for ever."""
    monkeypatch.setattr("mobilekit.phone.adb._SLOWEST_BYTES_PER_S", 2**20)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5)
        answer = _Answer(ours, "N7", "cat file", timeout_s=0.2, limit_bytes=LIMIT)
        trickling = threading.Thread(target=trickle, args=(theirs,))
        trickling.start()
        with pytest.raises(AdbTimeout):
            answer.packets()
        ours.close()
        trickling.join()


def test_a_refusal_that_only_trickles(monkeypatch, tmp_path):
    """Of a file that was pushed."""
    monkeypatch.setattr("mobilekit.phone.adb._SLOWEST_BYTES_PER_S", 2**20)
    monkeypatch.setattr("mobilekit.phone.adb.DEFAULT_TIMEOUT_S", 0.2)
    ours, theirs = socket.socketpair()
    connection = SimpleNamespace(conn=ours, send_command=print, check_okay=print)
    device = SimpleNamespace(open_transport=lambda timeout: nullcontext(connection))
    (tmp_path / "file").write_bytes(b"content")
    with ours, theirs:
        theirs.sendall(struct.pack("<4sI", b"FAIL", 60_000))
        trickling = threading.Thread(target=trickle, args=(theirs,))
        trickling.start()
        with pytest.raises(TimedOutError):
            Phone(device, "N7", AdbServer(1)._translated).push(
                tmp_path / "file", TARGET, on_bytes=print
            )
        ours.close()
        trickling.join()


def trickle(stream):
    with suppress(OSError):
        for _ in range(100):
            stream.sendall(b"\x01")
            time.sleep(0.05)


def test_a_push_arrives_whole_and_readable(handle, phone, big_file):
    """The content is the same, anybody may read it, and the sizes told add up."""
    sizes = []
    handle.push(big_file, TARGET, on_bytes=sizes.append)

    digest = hashlib.sha256(big_file.read_bytes()).hexdigest()
    assert handle.shell(f"sha256sum {TARGET}").text.split()[0] == digest
    assert int(handle.shell(f"stat -c %a {TARGET}").text, 8) & 0o444 == 0o444
    assert sum(sizes) == big_file.stat().st_size


def test_only_what_is_missing_is_delivered(handle, tmp_path):
    """Whatever else lies there is not looked at; a file of another length is pushed again."""
    files = [
        ArtifactFile(sha256=letter * 64, format="pte", size_bytes=9, method="forward")
        for letter in "abc"
    ]
    for file in files:
        (tmp_path / f"{file.sha256}.pte").write_bytes(b"a program")

    assert deliver(handle, files[:1], tmp_path, on_bytes=lambda *_: None) == 9
    handle.shell(f"cd {INPUT_ROOT}/artifacts && touch other && echo cut > {'b' * 64}.pte")
    told = []
    assert deliver(handle, files, tmp_path, on_bytes=lambda *two: told.append(two)) == 18
    assert told[-1] == (18, 18)
    assert deliver(handle, files, tmp_path, on_bytes=lambda *_: None) == 0


def test_an_old_phone_gets_many_files(make_phone, tmp_path):
    """As the segments of a large network are; its packets hold commands of 4 KiB at most."""
    phone = make_phone(profile=load_profiles()["nexus7"])
    files = [
        ArtifactFile(sha256=f"{number:064x}", format="pte", size_bytes=1, method="forward")
        for number in range(100)
    ]
    for file in files:
        (tmp_path / f"{file.sha256}.pte").write_bytes(b"a")
    old = AdbServer(phone.server.port).phone(phone.serial)

    assert deliver(old, files, tmp_path, on_bytes=lambda *_: None) == 100
    assert deliver(old, files, tmp_path, on_bytes=lambda *_: None) == 0


def test_something_in_the_way_of_a_delivery(handle, tmp_path):
    file = ArtifactFile(sha256="a" * 64, format="pte", size_bytes=9, method="forward")
    (tmp_path / f"{file.sha256}.pte").write_bytes(b"a program")
    handle.shell(f"mkdir -p {INPUT_ROOT} && touch {INPUT_ROOT}/artifacts")

    with pytest.raises(PhoneError, match="File exists") as caught:
        deliver(handle, [file], tmp_path, on_bytes=lambda *_: None)

    assert "in the way" in caught.value.fix


def test_a_pull_is_the_phones_file_byte_for_byte(handle, tmp_path, big_file):
    """Also what a terminal would change, and more than one frame of it."""
    for content in (b"a\r\nb\nc\x04\x00" * 3, b"", big_file.read_bytes()[: 1 << 21]):
        (tmp_path / "sent").write_bytes(content)
        handle.push(tmp_path / "sent", TARGET, on_bytes=ignore)

        handle.pull(TARGET, tmp_path / "back", limit_bytes=LIMIT)

        assert (tmp_path / "back").read_bytes() == content


def test_a_pull_of_nothing_has_the_phones_words(handle, tmp_path):
    """A file that is not there is named."""
    with pytest.raises(PhoneError, match="No such file") as caught:
        handle.pull("/data/local/tmp/missing", tmp_path / "back", limit_bytes=LIMIT)

    assert caught.value.facts["path"] == "/data/local/tmp/missing"


def test_unplugged_in_mid_pull(handle, phone, tmp_path, big_file):
    """A part is not taken for the whole."""
    handle.push(big_file, TARGET, on_bytes=ignore)
    unplugging = threading.Timer(
        0.05, lambda: phone.call(phone.phone.set_faults(Faults(cable="unplugged")))
    )

    def pull_again_and_again():
        while True:  # Once may be faster than the hand at the cable.
            handle.pull(TARGET, tmp_path / "back", limit_bytes=LIMIT)

    unplugging.start()
    with pytest.raises(DisconnectedError):
        pull_again_and_again()
    unplugging.join()


def test_a_full_phone_says_so_and_keeps_nothing(handle, phone, big_file):
    """The phone's own reason reaches the user, and no part of the file stays."""
    phone.call(phone.phone.set_faults(Faults(storage_bytes=1_000_000)))

    with pytest.raises(PhoneError, match="No space left on device") as caught:
        handle.push(big_file, TARGET, on_bytes=ignore)

    assert "Free space" in caught.value.fix
    assert handle.shell("ls /data/local/tmp").text == ""


def test_unplugged_in_mid_push(handle, phone, big_file):
    """A link that breaks is a disconnection, and no file takes the name of a whole one."""
    unplugging = threading.Thread(
        target=lambda: phone.call(phone.phone.set_faults(Faults(cable="unplugged")))
    )

    def unplug_once(_size_bytes):
        if unplugging.ident is None:
            unplugging.start()
        time.sleep(0.001)

    with pytest.raises(DisconnectedError):
        handle.push(big_file, TARGET, on_bytes=unplug_once)

    unplugging.join()
    assert not phone.phone.device.files.is_file(TARGET)


def test_unplugged_in_mid_shell_is_no_short_answer(handle, phone):
    """What had arrived before is not passed off as the whole output."""
    unplug = threading.Timer(
        0.3, lambda: phone.call(phone.phone.set_faults(Faults(cable="unplugged")))
    )
    unplug.start()

    with pytest.raises(DisconnectedError):
        handle.shell("echo begin; sleep 30; echo end")

    unplug.join()


def test_a_stalled_phone_is_given_up(handle, phone):
    """A phone that stops answering without hanging up runs into the deadline."""
    phone.call(phone.phone.set_faults(Faults(cable="stalled")))
    started_s = time.monotonic()

    with pytest.raises(DisconnectedError, match="did not answer"):
        handle.shell("echo hello", timeout_s=1)

    assert time.monotonic() - started_s < 10


@pytest.mark.parametrize(
    ("cable", "error", "told"),
    [
        ("unauthorized", DeviceError, "allow USB debugging"),
        ("offline", DisconnectedError, "adb connect"),
    ],
)
def test_a_phone_that_is_not_ready_says_what_to_do(make_phone, adb_server, cable, error, told):
    """Unauthorized and offline, which a phone is for a moment after its cable was pulled, are
    told apart, each with its way out."""
    phone = make_phone(connect=False)
    phone.call(phone.phone.set_faults(Faults(cable=cable)))
    adb_server.adb("connect", phone.serial)
    server = AdbServer(adb_server.port)
    adb_server.wait_for_state(phone.serial, cable)

    with pytest.raises(error, match=told) as caught:
        server.phone(phone.serial)

    assert cable in str(caught.value)
    assert caught.value.facts["serial"] == phone.serial


def test_an_unknown_serial_is_gone(adb_server):
    """A phone that left between two commands is a disconnection, not a crash."""
    with pytest.raises(DisconnectedError, match="gone"):
        AdbServer(adb_server.port).phone("no-such-serial").shell("true")


def test_connecting_to_nothing_is_an_error(adb_server):
    """adbutils returns a text there; here it is an error that names the address."""
    with pytest.raises(DeviceError, match=r"127\.0\.0\.1:1"):
        AdbServer(adb_server.port).connect("127.0.0.1:1")


def test_a_server_that_stops_in_mid_push(make_phone, tmp_path, big_file):
    """Whoever stops the adb server gets an error that says so."""
    phone = make_phone(connect=False)
    with running_adb_server(tmp_path) as server:
        server.adb("connect", phone.serial)
        server.wait_for_state(phone.serial, "device")
        handle = AdbServer(server.port, server.environment).phone(phone.serial)
        stopped = []

        def stop_once(_size_bytes):
            if not stopped:
                stopped.append(server.adb("kill-server"))
            time.sleep(0.001)

        with pytest.raises(DisconnectedError, match="server stopped"):
            handle.push(big_file, TARGET, on_bytes=stop_once)


def test_no_server_and_none_can_be_started(monkeypatch):
    """Without a working adb the error names the port and what to check."""
    monkeypatch.setenv("ADBUTILS_ADB_PATH", "/bin/false")

    with pytest.raises(AdbServerError, match="ADBUTILS_ADB_PATH") as caught:
        AdbServer(1).ensure_running()

    assert caught.value.facts["port"] == "1"


def test_a_server_on_this_computer_is_started_however_it_is_named(monkeypatch, tmp_path):
    """As by `--adb 127.0.0.1:PORT`, which adb itself would take for one elsewhere."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("ANDROID_ADB_SERVER_ADDRESS", "127.0.0.1")
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
    monkeypatch.setenv("ANDROID_ADB_LOG_PATH", str(tmp_path / "adb.log"))
    monkeypatch.setenv("ADB_MDNS", "0")
    server = AdbServer()

    server.ensure_running()
    server.stop()


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("desk2", ("desk2", 5037)),
        ("desk2:5038", ("desk2", 5038)),
        ("::1", ("::1", 5037)),
        ("fe80::5037", ("fe80::5037", 5037)),
        ("[::1]:5038", ("::1", 5038)),
    ],
)
def test_adb_servers_elsewhere(text, server):
    assert split_server(text) == server


@pytest.mark.parametrize("text", ["", ":5037", "desk2:", "desk2:0", "desk2:99999", "a b:1", "-H:1"])
def test_what_is_no_adb_server(text):
    with pytest.raises(UsageError, match="no adb server"):
        split_server(text)
