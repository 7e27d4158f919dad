"""The phone's shell and its commands, without adb."""

from __future__ import annotations

import asyncio
import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass

import pytest
import servers
from hypothesis import given
from hypothesis import strategies as st

from mobilekit import __version__
from mobilekit.contract.protocol import ACTIVITY, PACKAGE
from mobilekit.phone.parse import parse_vkjson, parse_vulkan_version
from mobilekit.phone.profiles import load_profiles
from mobilekit.records.device import Gpu
from mobilekit.virtual.adb_services import quote, run_shell
from mobilekit.virtual.device import Device
from mobilekit.virtual.gpu_commands import TEXTURE_TEXELS
from mobilekit.virtual.shell import Pipe, Streams
from mobilekit.virtual.syntax import ShellSyntaxError, UnfinishedError, parse

TMP = "/data/local/tmp"


class Collected:
    def __init__(self) -> None:
        self.data = b""

    async def write(self, data: bytes) -> None:
        self.data += bytes(data)


@dataclass(frozen=True)
class Done:
    status: int
    stdout: str
    stderr: str


class ShellOf:
    def __init__(self, device: Device) -> None:
        self.device = device

    def __call__(self, command: str, stdin: bytes = b"") -> Done:
        async def run() -> Done:
            source = Pipe()
            await source.write(stdin)
            await source.end()
            stdout, stderr = Collected(), Collected()
            status = await run_shell(self.device, command, Streams(source, stdout, stderr))
            texts = [sink.data.decode("utf-8", "surrogateescape") for sink in (stdout, stderr)]
            return Done(status, *texts)

        return asyncio.run(asyncio.wait_for(run(), 20))


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    return ShellOf(_make_device(tmp_path_factory.mktemp("phone")))


def _make_device(directory, clock_ns=lambda: 0, profile=servers.TEST_PROFILE):
    battery, companion = servers.FakeBattery(), servers.FakeCompanion()
    return Device(profile, directory, "x86_64", battery, companion, clock_ns)


@pytest.mark.parametrize(
    ("command", "stdout"),
    [
        ("echo a  b", "a b\n"),
        ("echo 'a  b' \"c  d\"", "a  b c  d\n"),
        (r"echo a\ b \"c\"", 'a b "c"\n'),
        ("echo 'it'\\''s'", "it's\n"),
        ("A='x  y'; echo $A \"$A\" '$A' ${A}z", "x y x  y $A x yz\n"),
        ('echo "" \'\'x "a\'b"', " x a'b\n"),
        ("true && echo yes || echo no", "yes\n"),
        ("false && echo yes || echo no", "no\n"),
        ("false; echo $?; true; echo $?", "1\n0\n"),
        ("echo one; echo two # three", "one\ntwo\n"),
        ("echo a |\n cat", "a\n"),
        ("printf 'b\\na\\nb\\n' | grep b | wc -l", "2\n"),
        ("X=1 true; echo [$X]", "[]\n"),
        ("export X=1; env | grep X=", "X=1\n"),
        ("exit 3 | cat; echo $?", "0\n"),
        ("exec echo gone; echo not", "gone\n"),
        ("echo 100% $ a$", "100% $ a$\n"),
        ("[ 3 -gt 2 ] && [ a = a ] && [ ! -d /nothing ] && echo ok", "ok\n"),
        ("echo -n a; echo -e 'b\\tc'", "ab\tc\n"),
        ("printf '%s=%d\\n' a 1 b 2", "a=1\nb=2\n"),
        ("cd /data/local/tmp; cd ..; pwd", "/data/local\n"),
    ],
)
def test_language(shell, command, stdout):
    assert stdout == shell(command).stdout


@pytest.mark.parametrize("text", ["'open", '"open', "a |", "a &&", "a \\"])
def test_an_unfinished_line_says_so(text):
    with pytest.raises(UnfinishedError):
        parse(text)


@pytest.mark.parametrize(
    "text", ["| a", "a | | b", "a &", "(a)", "$(a)", "`a`", "; &&", "cat << x"]
)
def test_what_is_not_of_the_language_is_refused(text):
    with pytest.raises(ShellSyntaxError):
        parse(text)


@given(st.text())
def test_parsing_any_text_ends_in_steps_or_a_syntax_error(text):
    with suppress(ShellSyntaxError):
        parse(text)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
def test_quoted_words_are_read_back(words):
    steps = parse("echo " + " ".join(quote(word) for word in words))
    read = ["".join(piece.text for piece in word) for word in steps[0].pipeline[0].words[1:]]
    assert words == read


def test_redirections(shell):
    shell(f"cd {TMP}; echo one > r; echo two >> r; cat nothing 2>> r; cat < r")
    assert shell(f"cat {TMP}/r").stdout == "one\ntwo\ncat: nothing: No such file or directory\n"
    assert shell("cat /nothing 2>&1 | wc -l").stdout == "1\n"
    done = shell("echo x > /system/y; echo after")
    assert "can't create /system/y: Read-only file system" in done.stderr
    assert done.stdout == "after\n"


def test_a_reader_that_leaves_ends_the_writer(shell):
    """As with SIGPIPE: a log that is followed ends once its first line is read."""
    assert shell("logcat | head -n 1").stdout == "--------- beginning of main\n"


def test_glob_in_the_last_component(shell):
    shell(f"mkdir -p {TMP}/g; cd {TMP}/g; touch b.txt a.txt .hidden c.bin")
    assert shell(f"cd {TMP}/g; echo *.txt").stdout == "a.txt b.txt\n"
    assert shell(f"echo {TMP}/g/*").stdout == f"{TMP}/g/a.txt {TMP}/g/b.txt {TMP}/g/c.bin\n"
    assert shell(f"echo {TMP}/g/'*' {TMP}/g/*.nothing").stdout == (f"{TMP}/g/* {TMP}/g/*.nothing\n")


def test_files(shell):
    shell(f"mkdir {TMP}/f; printf 12345 > {TMP}/f/a; chmod 640 {TMP}/f/a; ln -s a {TMP}/f/l")
    assert shell(f"stat -c '%s %a %n %F' {TMP}/f/a").stdout == f"5 640 {TMP}/f/a regular file\n"
    assert shell(f"stat -c %s {TMP}/f/none").status == 1
    assert shell(f"ls -l {TMP}/f/l").stdout.endswith("l -> a\n")
    assert shell(f"ls -la {TMP}/f").stdout.splitlines()[3].startswith("-rw-r-----  1 shell ")
    assert shell(f"ls {TMP}/f").stdout == "a\nl\n"
    assert shell(f"ls -d {TMP}/f").stdout == f"{TMP}/f\n"
    digest = hashlib.sha256(b"12345").hexdigest()
    assert shell(f"sha256sum {TMP}/f/a").stdout == f"{digest}  {TMP}/f/a\n"
    assert shell("echo -n 12345 | md5sum").stdout.endswith("  -\n")
    assert (
        shell(f"cp -r {TMP}/f {TMP}/h && mv {TMP}/h/a {TMP}/h/b && ls {TMP}/h").stdout == "b\nl\n"
    )
    assert shell(f"rm {TMP}/h").stderr == f"rm: {TMP}/h: Is a directory\n"
    assert shell(f"rm -r {TMP}/h; rm -f {TMP}/h; ls {TMP}/h").status == 1
    assert shell(f"find {TMP}/f -name 'a*' -type f").stdout == f"{TMP}/f/a\n"
    assert shell(f"du {TMP}/f").stdout == f"1\t{TMP}/f\n"
    assert shell(f"head -c 2 {TMP}/f/a; tail -c +4 {TMP}/f/a").stdout == "1245"
    assert shell("cp -r /data/local/tmp /data/local/tmp/x").status == 1
    assert shell("rm -rf /").status == 1
    assert shell("rm -rf /data/local/tmp/../..").status == 1
    assert shell("ls /data").stderr == "ls: /data: Permission denied\n"
    assert shell("echo a > /sdcard/x; cat /storage/emulated/0/x").stdout == "a\n"


def test_text(shell):
    lines = b"Alpha\nbeta\n\ngamma 42\n"
    assert shell("grep -c a", lines).stdout == "3\n"
    assert shell("grep -i alpha", lines).stdout == "Alpha\n"
    assert shell("grep -v a", lines).stdout == "\n"
    assert shell("grep -E '(bet|gamm)a'", lines).stdout == "beta\ngamma 42\n"
    assert shell(r"grep '\(bet\|gamm\)a$'", lines).stdout == "beta\n"
    assert shell("grep nothing", lines).status == 1
    assert shell("tail -n 1", lines).stdout == "gamma 42\n"
    assert shell("tail -n +3", lines).stdout == "\ngamma 42\n"
    assert shell("head -2", lines).stdout == "Alpha\nbeta\n"
    assert shell("wc", lines).stdout == "4 4 21\n"


def test_properties(shell):
    assert shell("getprop ro.product.manufacturer").stdout == "Example\n"
    assert shell("getprop nothing; getprop nothing else").stdout == "\nelse\n"
    assert shell("setprop debug.x 1; getprop debug.x").stdout == "1\n"
    done = shell("setprop ro.mobilekit.virtual 0")
    assert done.status == 1
    assert done.stderr.startswith("Failed to set property 'ro.mobilekit.virtual' to '0'.\n")
    assert "ro.mobilekit.virtual=1\n" in shell("cat /system/build.prop").stdout


def test_battery_is_dumped_and_set(tmp_path):
    shell = ShellOf(_make_device(tmp_path))
    assert shell("dumpsys battery").stdout == (
        "Current Battery Service state:\n"
        "  AC powered: false\n  USB powered: true\n  Wireless powered: false\n"
        "  Max charging current: 500000\n  Max charging voltage: 5000000\n"
        "  Charge counter: 3200000\n  status: 2\n  health: 2\n  present: true\n  level: 80\n"
        "  scale: 100\n  voltage: 4012\n  temperature: 271\n  technology: Li-ion\n"
    )
    changed = shell("dumpsys battery unplug; dumpsys battery set level 7; dumpsys battery").stdout
    assert "  USB powered: false\n" in changed
    assert "  status: 3\n" in changed
    assert "  level: 7\n" in changed


def test_a_service_tells_what_a_file_says(tmp_path):
    """So that a virtual phone can say what a real one was heard to say, and nothing beside it."""
    (tmp_path / "dumpsys").mkdir()
    (tmp_path / "dumpsys/batterystats.txt").write_text("  Capacity: 1000\n", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("not a service", encoding="utf-8")
    shell = ShellOf(_make_device(tmp_path))

    assert shell("dumpsys batterystats").stdout == "  Capacity: 1000\n"
    assert "Can't find service" in shell("dumpsys ../secret").stderr
    assert "level: 80" in shell("dumpsys battery").stdout


def test_other_dumps(shell):
    assert "Thermal Status: 0\n" in shell("dumpsys thermalservice").stdout
    assert "  battery\n" in shell("dumpsys").stdout
    assert shell("dumpsys nothing").stderr == "Can't find service: nothing\n"
    package = shell(f"dumpsys package {PACKAGE}").stdout
    assert f"    versionName={__version__}\n" in package
    assert "versionCode=" in package
    assert "DEBUGGABLE" not in package
    assert shell("dumpsys package no.such").stdout == "Unable to find package: no.such\n"
    assert shell("dumpsys meminfo no.such").stdout == "No process found for: no.such\n"
    assert "MemTotal:        4194304 kB\n" in shell("cat /proc/meminfo").stdout


def test_the_companion_is_started_watched_and_stopped(tmp_path):
    shell = ShellOf(_make_device(tmp_path))
    done = shell(f"am start -W -n {ACTIVITY} --es run_id run-1")
    assert done.status == 0
    assert f"Starting: Intent {{ cmp={ACTIVITY} (has extras) }}\nStatus: ok\n" in done.stdout
    assert shell.device.companion.started == ["run-1"]
    assert shell(f"pidof {PACKAGE}").stdout == "5001\n"
    assert shell("ps -A | grep -c mobilekit").stdout == "1\n"
    assert "TOTAL PSS:    51200" in shell(f"dumpsys meminfo {PACKAGE}").stdout
    assert shell("kill 5001").stderr == "kill: 5001: Operation not permitted\n"
    assert shell(f"am force-stop {PACKAGE}; pidof {PACKAGE}").status == 1


def test_runs_of_one_start_are_all_started_or_none(tmp_path):
    """As the app does it."""
    shell = ShellOf(_make_device(tmp_path))

    shell(f"am start -n {ACTIVITY} --es run_id run-2,run-1")
    shell(f"am start -n {ACTIVITY} --es run_id run-3,../x")

    assert shell.device.companion.started == ["run-2", "run-1"]


def test_a_wrong_activity_is_refused_as_android_does(shell):
    done = shell(f"am start -n {PACKAGE}/.Nothing")
    assert done.status == 0
    assert done.stderr == (
        f"Error type 3\nError: Activity class {{{PACKAGE}/{PACKAGE}.Nothing}} does not exist.\n"
    )


def test_the_companion_is_installed_until_it_is_uninstalled(tmp_path):
    shell = ShellOf(_make_device(tmp_path))
    assert shell("pm list packages").stdout == f"package:{PACKAGE}\n"
    assert shell(f"pm path {PACKAGE}").stdout.startswith("package:/system/app/")
    assert shell(f"pm uninstall {PACKAGE}").stdout == "Success\n"
    assert "does not exist" in shell(f"am start -n {ACTIVITY} --es run_id a").stderr
    again = ShellOf(_make_device(tmp_path))
    assert again("pm list packages").stdout == ""
    assert again(f"pm uninstall {PACKAGE}").stdout == "Failure [DELETE_FAILED_INTERNAL_ERROR]\n"


def test_small_things(shell):
    assert shell("whoami; id -u").stdout == "shell\n2000\n"
    assert shell("uname -m").stdout == "x86_64\n"
    assert shell("wm size").stdout == "Physical size: 1080x2400\n"
    assert shell("settings put global a 1; settings get global a").stdout == "1\n"
    assert shell("settings get global nothing").stdout == "null\n"
    assert shell("svc power stayon true && input keyevent 26").status == 0
    assert shell("date +%Y").stdout.startswith("20")
    assert shell("sleep 0.01; logcat -c; logcat -d").stdout == "--------- beginning of main\n"
    assert shell("log -p e -t T hello; logcat -d 'T:W' '*:S'").stdout.endswith(" E T: hello\n")
    assert shell("ls -Q").stderr == "ls: Unknown option 'Q'\n"


def test_uptime_follows_the_clock(tmp_path):
    now_ns = [0]
    shell = ShellOf(_make_device(tmp_path, lambda: now_ns[0]))
    now_ns[0] = 3_661_000_000_000
    assert " up 01:01:01," in shell("uptime").stdout
    assert shell("cat /proc/uptime").stdout.startswith("3661.00 ")


def gpu(name, vulkan_version):
    return Gpu(
        name=name, vulkan_version=vulkan_version, half_storage=True, texture_texels=TEXTURE_TEXELS
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pixel6a", gpu("Mali-G78", "1.1")),
        ("pixel8", gpu("Mali-G715", "1.3")),
        ("nexus7", Gpu(name=None, vulkan_version=None, half_storage=None)),
    ],
)
def test_a_phone_tells_of_its_gpu_as_its_profile_says(tmp_path, name, expected):
    """In features and in its GPU service's own words; Android 6 has no such service."""
    shell = ShellOf(_make_device(tmp_path, profile=load_profiles()[name]))
    features, told = shell("pm list features"), shell("cmd gpu vkjson")

    has_service = shell.device.profile.android_sdk >= 24
    assert "feature:android.hardware.touchscreen\n" in features.stdout
    assert ("gpu" in shell("cmd -l").stdout) == has_service == (told.status == 0)
    assert expected == Gpu(
        vulkan_version=parse_vulkan_version(features.stdout), **parse_vkjson(told.stdout)._asdict()
    )


@pytest.mark.parametrize(
    "command",
    [
        "",
        "cmd gpu",
        "getprop",
        "pm",
        "am start",
        "dumpsys battery set",
        "settings",
        "cmd",
        "logcat -x",
        "head -n x",
        "test 1 2 3 4",
        "printf",
        "cd /nothing",
        "kill",
        "grep",
        "stat",
        "cp a",
        "setprop a",
        "am",
        "wm",
        "find -size 3",
        "sleep x",
        "chmod 9 x",
        "exit x",
        "ln a b",
    ],
)
def test_wrong_usage_is_an_error_and_never_a_crash(shell, command):
    done = shell(command)
    assert done.status < 256
    assert "Traceback" not in done.stdout + done.stderr


def test_a_shell_within_the_shell(shell):
    assert shell("sh -c 'echo $0 $2 $#' me a b").stdout == "me b 2\n"
    assert shell("sh -c echo hello; echo world").stdout == "\nworld\n"
    assert shell("sh -c 'exit 7'; echo $?").stdout == "7\n"
    assert shell(f"echo 'echo $1; cd {TMP}' > {TMP}/x; sh {TMP}/x a; pwd").stdout == "a\n/\n"
    assert shell("sh", b"echo one\necho two\n").stdout == "one\ntwo\n"
    assert shell("sh /nothing").status == 127
    assert shell("sh -c 'for \"$@\"'").status == 127
    assert shell("""sh -c 'printf "<%s>" "$@"' x "a b" c""").stdout == "<a b><c>"
    assert shell("eval 'X=1;' 'echo $X'; echo $X").stdout == "1\n1\n"
    pids = shell("echo $$; sh -c 'echo $$'").stdout.split()
    assert len(set(pids)) == 2


def test_where_commands_are(shell):
    assert shell("command -v ls cd").stdout == "/system/bin/ls\ncd\n"
    assert shell("command -v nothing").status == 1
    assert shell("command echo a").stdout == "a\n"
    assert shell("command nothing").status == 127
    assert shell("which ls nothing").stdout == "/system/bin/ls\n"
    assert shell("which nothing").status == 1
    assert shell("type cd; type ls").stdout == "cd is a shell builtin\nls is /system/bin/ls\n"


def test_lines_are_read_into_variables(shell):
    script = "read A B; echo $B; read; echo $REPLY; cat; read C || echo end"
    assert shell(script, b"1 2 3\nsecond\nrest\n").stdout == "2 3\nsecond\nrest\nend\n"


def test_a_trap_runs_at_the_end(shell):
    done = shell("trap 'echo bye' EXIT; echo hello; exit 3")
    assert (done.status, done.stdout) == (3, "hello\nbye\n")
    assert shell("trap 'exit 5' EXIT; false").status == 5
    assert shell("trap 'echo no' EXIT; trap - EXIT; true").stdout == ""
    assert shell("trap 'echo a' HUP; trap").stdout == "trap -- 'echo a' HUP\n"
    assert shell("trap x KILL").status == 1


def test_a_signal_ends_a_shell_or_is_caught(shell):
    """The shell sends it to itself."""
    assert shell("kill -HUP $$; echo no").status == 129
    caught = shell("trap 'echo caught' TERM; kill $$; sleep 5; echo on")
    assert caught.stdout == "caught\non\n"
    assert shell("trap '' INT; kill -2 $$; echo on").stdout == "on\n"
    assert shell("trap 'exit 4' HUP; kill -1 $$; sleep 5").status == 4
    assert shell("kill -0 $$").status == 0
    assert "No such process" in shell("kill 99999").stderr
    assert "bad signal" in shell("kill -NONE 1").stderr


def test_processes_are_listed_by_their_ids(shell):
    assert shell("ps $$ | grep -c $$").stdout == "1\n"
    assert shell("ps 99999 | wc -l").stdout == "1\n"
    assert shell("ps -o PID,NAME -p 1").stdout == "  PID NAME\n    1 init\n"
    assert "system_server" not in shell("ps").stdout
    assert "system_server" in shell("ps -A").stdout
    assert shell("ps -o WHAT").status == 1


def test_devices_are_there(shell):
    assert shell("cat /dev/null; echo x > /dev/null; ls /dev").stdout.split() == (
        ["full", "null", "random", "urandom", "zero"]
    )
    assert shell("head -c 3 /dev/zero").stdout == "\0\0\0"
    assert shell("head -c 64 /dev/urandom | wc -c").stdout == "64\n"
    assert "No space left" in shell("echo x > /dev/full").stderr
    assert shell("[ -c /dev/null ] && stat -c %F /dev/zero").stdout == "character special file\n"
    assert shell("rm /dev/null").status == 1


def test_dd_copies_blocks(shell):
    assert len(shell("dd if=/dev/zero bs=507 count=2 2>/dev/null").stdout) == 1014
    done = shell(f"dd if=/dev/urandom of={TMP}/a bs=1k count=3")
    assert done.stderr.startswith("3+0 records in\n3+0 records out\n3072 bytes (3.0K) copied, ")
    assert shell(f"stat -c %s {TMP}/a").stdout == "3072\n"
    assert shell("dd bs=4 skip=1 count=1 status=none", b"aaaabbbbcc").stdout == "bbbb"
    assert shell("dd bs=4", b"aaaab").stderr.startswith("1+1 records in\n")
    assert shell(f"echo 12345 > {TMP}/b; dd of={TMP}/b bs=2 seek=1 status=none", b"xy").status == 0
    assert shell(f"cat {TMP}/b").stdout == "12xy5\n"
    for wrong in ("bs=0", "bs=x", "what=1", "conv=ebcdic", "bs=2g", "if=/nothing"):
        assert shell(f"dd {wrong} count=1", b"x").status == 1


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        ("777", "a-rwx", "0"),
        ("600", "u+x,go=r", "744"),
        ("644", "+x", "755"),
        ("600", "+w", "622"),
        ("600", "a+w", "622"),
        ("744", "go+X", "755"),
        ("644", "go+X", "644"),
        ("777", "=r", "444"),
        ("644", "u-w+x", "544"),
        ("777", "-x", "666"),
        ("600", "0644", "644"),
    ],
)
def test_modes_are_changed_by_words(shell, before, change, after):
    script = f"touch {TMP}/m; chmod {before} {TMP}/m; chmod {change} {TMP}/m; stat -c %a {TMP}/m"
    assert shell(script).stdout == f"{after}\n"


def test_a_tree_of_modes(shell):
    shell(f"mkdir -p {TMP}/t/u; touch {TMP}/t/u/f; chmod -R go-rx {TMP}/t")
    assert shell(f"stat -c %a {TMP}/t {TMP}/t/u {TMP}/t/u/f").stdout == "720\n720\n622\n"
    assert shell(f"chmod u+q {TMP}/t").stderr == "chmod: bad mode 'u+q'\n"


def test_what_its_mode_forbids_is_refused(tmp_path):
    """Whoever runs the tests may be kept from nothing."""
    shell = ShellOf(_make_device(tmp_path))
    made = shell(f"echo x > {TMP}/f; mkdir -p {TMP}/d/e; echo y > {TMP}/d/f")
    assert made == shell(f"chmod 0 {TMP}/f {TMP}/d") == Done(0, "", "")
    for command in (f"cat {TMP}/f", f"echo z > {TMP}/f", f"ls {TMP}/d", f"cat {TMP}/d/f"):
        assert "Permission denied" in shell(command).stderr
    shell(f"chmod 500 {TMP}/d")
    for command in (f"touch {TMP}/d/new", f"rm {TMP}/d/f", f"mv {TMP}/d/f {TMP}/g"):
        assert "Permission denied" in shell(command).stderr
    assert shell(f"[ -r {TMP}/f ] || [ -w {TMP}/d ] || [ -x {TMP}/d ]").status == 0
    assert shell(f"[ -w {TMP}/d ]").status == 1
    assert shell(f"chmod 644 {TMP}/f; cat {TMP}/f").stdout == "x\n"


def test_a_hash_alone_and_the_log_in_other_layouts(shell):
    assert shell("md5sum -b", b"x").stdout == "9dd4e461268c8034f5c8564e155c67a6\n"
    shell("logcat --clear; log -p e -t Tag hello")
    assert re.search(r"E/Tag     \( \d+\): hello\n", shell("logcat -d -v time").stdout)
    assert shell("logcat --dump -v raw").stdout.endswith("\nhello\n")
    assert shell("logcat -d -v what").status == 1


def test_the_log_since_a_moment(shell):
    shell("logcat -c; log one; sleep 0.01; log two")
    moment = re.search(r"(\d\d-\d\d [\d:.]+) .* two\n", shell("logcat -d").stdout)[1]
    since = shell(f"logcat -t '{moment}'").stdout

    assert since.endswith(" two\n")
    assert " one\n" not in since
    assert shell("logcat -t yesterday").stderr == 'logcat: Invalid parameter "yesterday"\n'


def test_users_and_services(shell):
    assert shell("am get-current-user").stdout == "0\n"
    assert "UserInfo{0:Owner" in shell("dumpsys user").stdout
    done = shell("cmd")
    assert (done.status, done.stdout) == (20, "")
    assert done.stderr.startswith("cmd: No service specified; use -l to list all")
    assert shell("[ -t 0 ]").status == 1
