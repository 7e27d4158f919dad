"""The real adb server and its clients against a virtual phone."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import threading
import time
from pathlib import Path

import adbutils
import pytest
import servers
from following import wait_for

from mobilekit.virtual.adbd import EMULATOR_PORTS, HEADER
from mobilekit.virtual.faults import Faults, write_faults

TMP = "/data/local/tmp"


def test_adb_lists_the_phone_with_its_names(adb_server, phone):
    line = next(
        line for line in adb_server.adb("devices", "-l").stdout.splitlines() if phone.serial in line
    )
    assert "device product:testdevice model:Test_Phone device:testdevice" in line
    assert phone.adb("get-state").stdout == "device\n"
    assert phone.phone.port not in EMULATOR_PORTS


def test_no_phone_takes_a_port_where_adb_looks_for_emulators(make_phone):
    running = make_phone(connect=False)
    with pytest.raises(ValueError, match="5555"):
        running.call(running.phone._adbd.listen(5555))


def test_properties_say_that_it_is_virtual(phone):
    assert phone.adb("shell", "getprop", "ro.mobilekit.virtual").stdout == "1\n"
    assert "[ro.product.cpu.abi]: [x86_64]\n" in phone.adb("shell", "getprop").stdout
    assert phone.device().prop.model == "Test Phone"


@pytest.mark.parametrize(
    ("command", "status", "stdout", "stderr"),
    [
        ("true", 0, "", ""),
        ("false", 1, "", ""),
        ("exit 42", 42, "", ""),
        ("echo out; echo err >&2; exit 3", 3, "out\n", "err\n"),
        ("xyz", 127, "", "/system/bin/sh: xyz: inaccessible or not found\n"),
        ("cat /nothing", 1, "", "cat: /nothing: No such file or directory\n"),
        ("cat /nothing 2>/dev/null || echo caught", 0, "caught\n", ""),
    ],
)
def test_status_and_outputs_come_apart(phone, command, status, stdout, stderr):
    done = phone.adb("shell", command, may_fail=True)
    assert (status, stdout, stderr) == (done.returncode, done.stdout, done.stderr)
    through_adbutils = phone.device().shell2(command, v2=True)
    assert status == through_adbutils.returncode
    assert (stdout, stderr) == (through_adbutils.stdout, through_adbutils.stderr)


def test_first_version_of_the_shell_protocol(phone):
    assert phone.device().shell("echo old; echo err >&2") == "old\nerr"
    assert phone.adb("shell", "-x", "echo plain").stdout == "plain\n"
    assert phone.adb("exec-out", "echo raw").stdout == "raw\n"


def test_standard_input_reaches_the_command(phone):
    assert phone.adb("shell", "cat | wc -c", input="12345\n").stdout == "6\n"
    assert phone.adb("shell", f"cat > {TMP}/in", input="hello\n").returncode == 0
    assert phone.adb("shell", f"cat {TMP}/in").stdout == "hello\n"


def test_a_shell_without_a_command_reads_a_script(phone):
    script = (
        "cd /data/local/tmp\npwd\nfalse\necho $?\nX='two\nlines'\necho \"$X\"\nexit 7\necho no\n"
    )
    done = phone.adb("shell", input=script, may_fail=True)
    assert (7, f"{TMP}\n1\ntwo\nlines\n") == (done.returncode, done.stdout)


def test_a_terminal_echoes_edits_and_interrupts(phone):
    """Keys of a person: a correction, a command that is interrupted, the end."""
    process = subprocess.Popen(
        [adbutils.adb_path(), "-s", phone.serial, "shell", "-tt"],
        env=phone.server.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    seen = b""
    prompt = b"testdevice:/ $ "
    for keys, answer in [
        (b"", prompt),
        (b"echo heZ\x7fllo\r", b"\r\nhello\r\n" + prompt),
        (b"sleep 60\r", b"sleep 60\r\n"),
        (b"\x03", b"^C\r\n" + prompt),
        (b"echo $?\r", b"\r\n130\r\n" + prompt),
        (b"exit 5\r", b"exit 5\r\n"),
    ]:
        process.stdin.write(keys)
        process.stdin.flush()
        while not seen.endswith(answer):
            byte = process.stdout.read(1)
            assert byte, seen
            seen += byte
    assert process.wait(20) == 5
    process.stdin.close()
    process.stdout.close()


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 3_000_001])
def test_a_pushed_file_comes_back_whole(phone, tmp_path, size):
    content = os.urandom(size)
    local, back = tmp_path / "local", tmp_path / "back"
    local.write_bytes(content)
    local.chmod(0o640)
    os.utime(local, (1_600_000_000, 1_600_000_000))
    done = phone.adb("push", str(local), f"{TMP}/a b/file")
    assert done.returncode == 0, done.stderr
    stat = phone.adb("shell", f"stat -c '%s %Y %a' '{TMP}/a b/file'").stdout
    assert f"{size} 1600000000 666\n" == stat
    digest = phone.adb("shell", f"sha256sum '{TMP}/a b/file'").stdout.split()[0]
    assert hashlib.sha256(content).hexdigest() == digest
    assert phone.adb("pull", f"{TMP}/a b/file", str(back)).returncode == 0
    assert content == back.read_bytes()


def test_adbutils_pushes_lists_and_pulls(phone, tmp_path):
    content = os.urandom(200_000)
    local = tmp_path / "local"
    local.write_bytes(content)
    sync = phone.device().sync
    assert sync.push(local, f"{TMP}/pushed") == len(content)
    assert sync.stat(f"{TMP}/pushed").size == len(content)
    assert [entry.path for entry in sync.list(TMP) if entry.path not in (".", "..")] == ["pushed"]
    assert sync.read_bytes(f"{TMP}/pushed") == content
    sync.pull(f"{TMP}/pushed", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content


def test_a_dry_run_pushes_nothing(phone, tmp_path):
    for size in (8, 1_000_000):
        (tmp_path / "local").write_bytes(bytes(size))
        phone.adb("push", "-n", str(tmp_path / "local"), f"{TMP}/dry")
    assert phone.adb("shell", f"ls {TMP}").stdout == ""


def test_directories_are_pushed_and_pulled(phone, tmp_path):
    """With an empty file, a name that is not ASCII, and a link."""
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "empty").touch()
    (tree / "inner" / "größe 1").write_bytes(b"1" * 100_000)
    for index in range(50):
        (tree / "inner" / f"{index}").write_text(str(index))
    done = phone.adb("push", str(tree), f"{TMP}/")
    assert done.returncode == 0, done.stderr
    names = phone.adb("shell", f"find {TMP}/tree -type f | wc -l").stdout
    assert names == "52\n"
    done = phone.adb("pull", f"{TMP}/tree", str(tmp_path / "back"))
    assert done.returncode == 0, done.stderr
    expected = {p.relative_to(tree): p.read_bytes() for p in tree.rglob("*") if p.is_file()}
    back = tmp_path / "back"
    assert expected == {p.relative_to(back): p.read_bytes() for p in back.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/system/x", "couldn't create file: Read-only file system"),
        ("/x", "couldn't create file: Read-only file system"),
        ("/data/x", "couldn't create file: Permission denied"),
        ("/data/new/x", "secure_mkdirs failed: Permission denied"),
        (f"{TMP}/file/x", "Not a directory"),
    ],
)
def test_a_refused_push_says_why(phone, tmp_path, path, reason):
    local = tmp_path / "local"
    local.write_bytes(os.urandom(2_000_000))
    phone.adb("shell", f"touch {TMP}/file")
    done = phone.adb("push", str(local), path, may_fail=True)
    assert done.returncode == 1
    assert reason in done.stderr


def test_a_full_phone_refuses_the_rest_and_keeps_the_stream_usable(phone, tmp_path):
    phone.call(phone.phone.set_faults(Faults(storage_bytes=1_000_000)))
    large, small = tmp_path / "large", tmp_path / "small"
    large.write_bytes(os.urandom(5_000_000))
    small.write_bytes(b"small")
    done = phone.adb("push", str(large), f"{TMP}/large", may_fail=True)
    assert done.returncode == 1
    assert "remote write failed: No space left on device" in done.stderr
    sync = phone.device().sync
    with pytest.raises(adbutils.AdbError):
        sync.push(large, f"{TMP}/large")
    assert phone.adb("shell", f"ls {TMP}").stdout == ""
    done = phone.adb("shell", f"head -c 2000000 /proc/version > {TMP}/v && cat {TMP}/v | wc -l")
    assert done.stdout == "1\n"
    assert phone.adb("push", str(small), f"{TMP}/small").returncode == 0
    assert "/data" in phone.adb("shell", "df -h").stdout


def test_files_that_are_not_there(phone, tmp_path):
    done = phone.adb("pull", f"{TMP}/nothing", str(tmp_path / "x"), may_fail=True)
    assert done.returncode == 1
    assert "No such file or directory" in done.stderr
    assert phone.device().sync.exists(f"{TMP}/nothing") is False


@pytest.mark.parametrize("path", ["../../../../etc/passwd", f"{TMP}/link/passwd", "/etc/passwd"])
def test_no_path_leaves_the_phone(phone, tmp_path, path):
    phone.adb("shell", f"ln -s ../../../../../../../../etc {TMP}/link; cd {TMP}")
    assert phone.adb("shell", f"cat {path}", may_fail=True).returncode == 1
    assert phone.adb("pull", path, str(tmp_path / "x"), may_fail=True).returncode == 1
    assert not (tmp_path / "x").exists()
    assert phone.adb("push", __file__, f"{TMP}/link/evil", may_fail=True).returncode == 1
    assert not Path("/etc/evil").exists()


def test_unknown_services_are_refused(phone):
    for command in ("jdwp", "remount"):
        done = phone.adb(command, timeout=10, may_fail=True)
        assert "closed" in done.stderr + done.stdout
    assert "cannot run as root in production builds" in phone.adb("root").stdout
    assert "not running as root" in phone.adb("unroot").stdout
    assert phone.adb("get-state").stdout == "device\n"


def test_forwarding_to_nothing_closes(phone):
    port = phone.adb("forward", "tcp:0", "tcp:9").stdout.strip()
    with socket.create_connection(("127.0.0.1", int(port)), 10) as client:
        client.settimeout(10)
        assert client.recv(1) == b""
    phone.adb("forward", "--remove", f"tcp:{port}")


def test_reverse_forwards_are_listed_rebound_and_removed(phone):
    phone.adb("reverse", "tcp:5566", "tcp:6655")
    assert phone.adb("reverse", "--list").stdout.strip() == "(reverse) tcp:5566 tcp:6655"
    done = phone.adb("reverse", "--no-rebind", "tcp:5566", "tcp:1", may_fail=True)
    assert "cannot rebind existing socket" in done.stderr
    phone.adb("reverse", "tcp:5566", "tcp:6677")
    assert phone.adb("reverse", "tcp:0", "tcp:1").stdout == "32768\n"
    assert phone.adb("reverse", "--list").stdout.split("\n")[:2] == [
        "(reverse) tcp:5566 tcp:6677",
        "(reverse) tcp:32768 tcp:1",
    ]
    phone.adb("reverse", "--remove", "tcp:5566")
    done = phone.adb("reverse", "--remove", "tcp:5566", may_fail=True)
    assert "listener 'tcp:5566' not found" in done.stderr
    for wrong in ("udp:1", "tcp:99999"):
        assert "cannot bind listener" in phone.adb("reverse", wrong, "tcp:1", may_fail=True).stderr
    phone.adb("reverse", "--remove-all")
    assert phone.adb("reverse", "--list").stdout.strip() == ""


def test_bytes_go_forward_and_come_back_in_reverse(adb_server, phone):
    """Into the phone by ``forward``, out of it by ``reverse``, to a listener of this computer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        phone.adb("reverse", "tcp:7000", f"tcp:{listener.getsockname()[1]}")
        port = int(phone.adb("forward", "tcp:0", "tcp:7000").stdout)
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            server, _ = listener.accept()
            client.sendall(b"x" * 100_000)
            received = b""
            while len(received) < 100_000:
                received += server.recv(65536)
            server.sendall(b"back")
            assert client.recv(4) == b"back"
            client.close()
            assert server.recv(1) == b""
            server.close()
    phone.adb("forward", "--remove-all")
    adb_server.adb("disconnect", phone.serial)
    adb_server.adb("connect", phone.serial)
    assert phone.adb("reverse", "--list").stdout.strip() == ""


def test_a_reverse_forward_to_nothing_closes(phone):
    phone.adb("reverse", "tcp:7001", "tcp:1")
    port = int(phone.adb("forward", "tcp:0", "tcp:7001").stdout)
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.settimeout(10)
        assert client.recv(1) == b""
    phone.adb("forward", "--remove-all")


def test_a_command_of_the_phone_takes_a_connection(phone):
    listening = subprocess.Popen(
        [adbutils.adb_path(), "-s", phone.serial, "shell", "echo foo | nc -l -p 7002; echo done"],
        env=phone.server.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    port = int(phone.adb("forward", "tcp:0", "tcp:7002").stdout)
    wait_for(lambda: phone.phone.device.sockets.service("tcp:7002") is not None)
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"a" * 512)
        assert client.recv(4) == b"foo\n"
    assert listening.communicate(timeout=20)[0] == b"a" * 512 + b"done\n"
    phone.adb("forward", "--remove-all")


@pytest.mark.parametrize("caught", [True, False])
def test_a_client_that_leaves_hangs_up_its_shell(phone, caught):
    trap = f"trap 'echo HUP > {TMP}/signal; exit 0' HUP; " if caught else ""
    process = subprocess.Popen(
        [adbutils.adb_path(), "-s", phone.serial, "shell", f"{trap}echo $$; read"],
        env=phone.server.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    pid = process.stdout.readline().strip()
    assert phone.adb("shell", f"ps {pid} | grep {pid}").returncode == 0
    process.terminate()
    process.communicate(timeout=10)
    wait_for(lambda: phone.adb("shell", f"ps {pid} | grep {pid}", may_fail=True).returncode == 1)
    assert (phone.directory / "files/data/local/tmp/signal").exists() == caught


def test_a_terminal_is_one(phone):
    assert phone.adb("shell", "-tt", "[ -t 0 ] && [ -t 1 ]", input="").returncode == 0
    assert phone.adb("shell", "-T", "[ -t 0 ]", may_fail=True).returncode == 1
    assert phone.adb("shell", "-tt", "[ -t 0 ] < /dev/null", may_fail=True).returncode == 1


def test_a_phone_that_is_restarted_comes_back(phone):
    """An adb server attaches it again by itself."""
    phone.adb("shell", "log -t Before restart")
    phone.adb("reboot")
    assert phone.phone.device.properties.get("sys.boot_completed") == "0"
    wait_for(lambda: "Before" not in phone.adb("logcat", "-d", may_fail=True).stdout)
    wait_for(lambda: phone.adb("shell", "true", may_fail=True).returncode == 0)
    assert "Before" not in phone.adb("logcat", "-d").stdout


def test_words_without_a_shell(phone):
    assert phone.adb("abb", "activity", "get-current-user").stdout == "0\n"
    assert "No service specified" in phone.adb("abb", may_fail=True).stderr


class OldClient:
    """A computer that speaks the version of adb's transport that has checksums."""

    def __init__(self, port: int, version: int = 0x01000000) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self._socket.settimeout(10)
        self.send(b"CNXN", version, 4096, b"host::\0")

    def send(self, command: bytes, arg0: int, arg1: int, data: bytes = b"", off: int = 0) -> None:
        word = int.from_bytes(command, "little")
        checksum = sum(data) + off
        header = HEADER.pack(word, arg0, arg1, len(data), checksum, word ^ 0xFFFFFFFF)
        self._socket.sendall(header + data)

    def receive(self) -> tuple[bytes, int, int, bytes, int]:
        """Command, arguments, payload, checksum; an empty command at the end."""
        header = self._exactly(HEADER.size)
        if len(header) < HEADER.size:
            return b"", 0, 0, b"", 0
        word, arg0, arg1, length, checksum, _ = HEADER.unpack(header)
        return word.to_bytes(4, "little"), arg0, arg1, self._exactly(length), checksum

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (piece := self._socket.recv(size - len(data))):
            data += piece
        return data

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize(
    ("asked", "spoken"),
    [(0x01000000, 0x01000000), (0x01000001, 0x01000001), (0x02000000, 0x01000001)],
)
def test_the_older_version_is_spoken(phone, asked, spoken):
    client = OldClient(phone.phone.port, asked)
    command, version, _, banner, checksum = client.receive()
    assert (command, version, checksum) == (b"CNXN", spoken, sum(banner))
    client.send(b"OPEN", 1, 0, b"shell,v2,raw:echo hello\0")
    told = [client.receive() for _ in range(2)]
    assert [command for command, *_ in told] == [b"OKAY", b"WRTE"]
    *_, data, checksum = told[1]
    assert data.endswith(b"hello\n")
    assert checksum == (sum(data) if spoken == 0x01000000 else 0)
    client.close()


@pytest.mark.parametrize(("version", "ends"), [(0x01000000, True), (0x01000001, False)])
def test_a_wrong_sum_ends_a_link_that_has_them(phone, version, ends):
    client = OldClient(phone.phone.port, version)
    client.receive()
    client.send(b"OPEN", 1, 0, b"shell:true\0", off=1)
    assert client.receive()[0] == (b"" if ends else b"OKAY")
    client.close()


def test_many_commands_at_once(phone):
    threads = []
    results = {}

    def run(index: int) -> None:
        results[index] = phone.device().shell2(f"sleep 1; echo {index}", v2=True).stdout

    started = time.monotonic()
    for index in range(12):
        threads.append(threading.Thread(target=run, args=(index,)))
        threads[-1].start()
    for thread in threads:
        thread.join(20)
    assert {index: f"{index}\n" for index in range(12)} == results
    # One after the other they would take twelve.
    assert time.monotonic() - started < 10


def test_two_adb_servers_at_once(phone, tmp_path):
    """A second server connects, works, and disturbs nothing."""
    with servers.running_adb_server(tmp_path) as second:
        assert "connected" in second.adb("connect", phone.serial).stdout
        second.wait_for_state(phone.serial, "device")
        assert second.adb("-s", phone.serial, "shell", "echo second").stdout == "second\n"
        assert phone.adb("shell", "echo first").stdout == "first\n"


def test_pushes_at_once_all_arrive_whole(phone, tmp_path):
    digests = {}
    pushes = []
    for index in range(4):
        local = tmp_path / str(index)
        local.write_bytes(os.urandom(8_000_000 + index))
        digests[str(index)] = hashlib.sha256(local.read_bytes()).hexdigest()
        push = threading.Thread(target=phone.adb, args=("push", str(local), f"{TMP}/{index}"))
        pushes.append(push)
        push.start()
    for push in pushes:
        push.join(30)
    lines = phone.adb("shell", f"cd {TMP}; sha256sum *").stdout.splitlines()
    assert digests == {name: digest for digest, name in (line.split() for line in lines)}


def test_a_command_ends_with_its_client(phone):
    """The phone ends what nobody waits for any more."""
    process = subprocess.Popen(
        [adbutils.adb_path(), "-s", phone.serial, "shell", "sleep 1.5; log -t Late came"],
        env=phone.server.environment,
        stdin=subprocess.DEVNULL,
    )
    time.sleep(0.3)
    process.terminate()
    process.wait(10)
    phone.adb("shell", "log -t Soon came")
    time.sleep(2)
    assert "Late" not in phone.adb("logcat", "-d").stdout


def test_bytes_in_and_out_without_a_protocol(phone, tmp_path):
    content = os.urandom(3_000_001)
    (tmp_path / "local").write_bytes(content)
    command = [adbutils.adb_path(), "-s", phone.serial]
    environment = phone.server.environment
    with (tmp_path / "local").open("rb") as local:
        subprocess.run(
            [*command, "exec-in", f"cat > {TMP}/x"], env=environment, stdin=local, check=True
        )
    # adb does not wait for the end of a command that it gave all its input.
    wait_for(lambda: phone.adb("shell", f"stat -c %s {TMP}/x").stdout == "3000001\n")
    output = subprocess.run(
        [*command, "exec-out", f"cat {TMP}/x"], env=environment, capture_output=True, check=True
    )
    assert content == output.stdout


def test_disconnect_and_connect_again(adb_server, phone):
    for _ in range(3):
        assert "disconnected" in adb_server.adb("disconnect", phone.serial).stdout
        adb_server.wait_for_state(phone.serial, None)
        assert "connected to" in adb_server.adb("connect", phone.serial).stdout
        assert phone.adb("shell", "echo again").stdout == "again\n"


def test_log_is_printed_and_followed(phone):
    phone.adb("shell", "log -t Mine one")
    assert " I Mine: one\n" in phone.adb("logcat", "-d").stdout
    assert phone.adb("logcat", "-d", "-s", "Other").stdout == "--------- beginning of main\n"
    process = subprocess.Popen(
        [adbutils.adb_path(), "-s", phone.serial, "logcat", "Mine:I", "*:S"],
        env=phone.server.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert "beginning" in process.stdout.readline()
    assert "one" in process.stdout.readline()
    phone.adb("shell", "log -t Mine two")
    assert "Mine: two" in process.stdout.readline()
    process.terminate()
    process.wait(10)
    process.stdout.close()


# --- faults


def test_unauthorized_then_allowed_on_the_same_link(adb_server, make_phone):
    phone = make_phone(connect=False)
    phone.call(phone.phone.set_faults(Faults(cable="unauthorized")))
    adb_server.adb("connect", phone.serial)
    adb_server.wait_for_state(phone.serial, "unauthorized")
    with pytest.raises(adbutils.AdbError, match="unauthorized"):
        phone.device().shell("true")
    phone.call(phone.phone.set_faults(Faults()))
    adb_server.wait_for_state(phone.serial, "device")
    assert phone.adb("shell", "echo allowed").stdout == "allowed\n"


def test_unplugged_in_the_middle_of_a_push_and_plugged_in_again(adb_server, phone, tmp_path):
    """The push fails, no half of the file stays, and the phone comes back."""
    local = tmp_path / "local"
    with local.open("wb") as file:
        file.truncate(2_000_000_000)
    process = subprocess.Popen(
        [adbutils.adb_path(), "-s", phone.serial, "push", str(local), f"{TMP}/large"],
        env=phone.server.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    part = phone.directory / "files/data/local/tmp/large"
    while not part.exists() or part.stat().st_size < 10_000_000:
        time.sleep(0.01)
    write_faults(phone.directory, Faults(cable="unplugged"))
    _, error = process.communicate(timeout=30)
    assert process.returncode == 1
    assert error
    deadline = time.monotonic() + 10
    while part.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "failed to connect" in adb_server.adb("connect", phone.serial).stdout
    write_faults(phone.directory, Faults())
    time.sleep(0.5)
    adb_server.adb("disconnect", phone.serial)
    assert "connected to" in adb_server.adb("connect", phone.serial).stdout
    assert phone.adb("shell", "echo back").stdout == "back\n"


def test_an_offline_phone_accepts_and_never_answers(adb_server, make_phone):
    phone = make_phone(connect=False)
    phone.call(phone.phone.set_faults(Faults(cable="offline")))
    adb_server.adb("connect", phone.serial)
    adb_server.wait_for_state(phone.serial, "offline")
    with pytest.raises(adbutils.AdbError, match="offline"):
        phone.device().shell("true")
    phone.call(phone.phone.set_faults(Faults()))
    adb_server.wait_for_state(phone.serial, "device")


def test_a_stalled_phone_answers_nothing_and_then_goes_on(phone):
    phone.call(phone.phone.set_faults(Faults(cable="stalled")))
    assert phone.adb("get-state").stdout == "device\n"
    with pytest.raises(subprocess.TimeoutExpired):
        phone.adb("shell", "echo hello", timeout=1)
    process = subprocess.Popen(
        [adbutils.adb_path(), "-s", phone.serial, "shell", "echo hello"],
        env=phone.server.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    time.sleep(0.3)
    assert process.poll() is None
    phone.call(phone.phone.set_faults(Faults()))
    assert process.communicate(timeout=10)[0] == "hello\n"


def test_a_faults_file_that_is_not_one_changes_nothing(phone):
    (phone.directory / "faults.json").write_text('{"cable": "cut"}')
    time.sleep(0.5)
    assert "Invalid enum value 'cut'" in phone.adb("logcat", "-d", "-s", "faults").stdout
