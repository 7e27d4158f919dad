"""Which format a phone gets, from what it is and what was asked for."""

import pytest
from examples import device_info
from msgspec.structs import replace

from mobilekit.errors import DeviceError, UsageError
from mobilekit.phone.formats import choose_format


def phone(abi, sdk, release="x"):
    return device_info(abi=abi, android_sdk=sdk, android_release=release)


@pytest.mark.parametrize(
    ("abi", "sdk", "expected"),
    [
        ("arm64-v8a", 26, "pte"),
        ("arm64-v8a", 35, "pte"),
        ("x86_64", 30, "pte"),
        ("armeabi-v7a", 24, "onnx"),
        ("x86", 30, "onnx"),
        ("arm64-v8a", 25, "onnx"),
        ("armeabi-v7a", 23, "tflite"),
        ("x86", 23, "tflite"),
    ],
)
def test_a_phone_gets_the_first_format_that_runs_there(abi, sdk, expected):
    """ExecuTorch where it can, else ONNX Runtime, else LiteRT; only the first needs no reason."""
    choice = choose_format("auto", phone(abi, sdk), None)

    assert choice.format == expected
    assert (choice.reason is None) == (expected == "pte")


def test_a_32_bit_phone_is_told_why():
    """The reason names the runtime that is missing and the processor."""
    choice = choose_format("auto", phone("armeabi-v7a", 28), None)

    assert "ExecuTorch has no library for armeabi-v7a" in choice.reason


def test_an_old_32_bit_phone_gets_litert_and_is_told_why():
    """A Nexus 7 with Android 6: no 32-bit ExecuTorch, no ONNX Runtime before Android 7."""
    choice = choose_format("auto", phone("armeabi-v7a", 23, "6.0.1"), None)

    assert choice.format == "tflite"
    for words in ("not .pte or .onnx", "no library for armeabi-v7a", "Android 7.0", "has 6.0.1"):
        assert words in choice.reason


def test_a_phone_for_which_there_is_no_runtime_is_refused_with_every_reason():
    """Too old for all of them."""
    with pytest.raises(DeviceError) as caught:
        choose_format("auto", phone("armeabi-v7a", 22, "5.1"), None)

    for words in ("no library for armeabi-v7a", "ONNX Runtime needs", "LiteRT needs Android 6.0"):
        assert words in str(caught.value)


@pytest.mark.parametrize("abi", ["", "\\u001b[2J", "x86 64", "WARNING: linker"])
def test_an_answer_that_names_no_abi_is_shown(abi):
    """Once, though it keeps every format away."""
    with pytest.raises(DeviceError) as caught:
        choose_format("auto", phone(abi, 30), None)

    assert str(caught.value).count(f"what it answers names no ABI: {abi or 'nothing'}") == 1


@pytest.mark.parametrize(
    ("wanted", "abi", "sdk", "told"),
    [
        ("pte", "armeabi-v7a", 30, ["ExecuTorch has no library", "--format onnx"]),
        ("pte", "arm64-v8a", 25, ["needs Android 8.0", "--format onnx"]),
        ("onnx", "armeabi-v7a", 23, ["needs Android 7.0", "--format tflite"]),
        ("tflite", "armeabi-v7a", 22, ["LiteRT needs Android 6.0", "no other format"]),
        ("onnx", "mips", 30, ["ONNX Runtime has no library for mips", "no other format"]),
    ],
)
def test_a_forced_format_that_cannot_run_is_refused(wanted, abi, sdk, told):
    """With the obstacle, and with the format that would do."""
    with pytest.raises(UsageError) as caught:
        choose_format(wanted, phone(abi, sdk), None)

    for words in told:
        assert words in str(caught.value)


def test_a_forced_format_that_runs_needs_no_reason():
    """Whoever asked knows."""
    assert choose_format("onnx", phone("arm64-v8a", 35), None) == ("onnx", None)


def test_what_a_device_tells_of_itself_counts():
    """Neither its processor nor its Android matters then."""
    info = phone("x86_64", 23)

    assert choose_format("auto", info, ("pte", "onnx")) == ("pte", None)
    chosen = choose_format("auto", info, ("onnx",))
    assert chosen.format == "onnx"
    assert "runs only .onnx" in chosen.reason
    with pytest.raises(UsageError, match=r"runs only \.onnx"):
        choose_format("pte", info, ("onnx",))


@pytest.mark.parametrize("asked", ["auto", "pte"])
def test_a_processor_without_atomics_gets_no_executorch(asked):
    """A Cortex-A53 would die of ExecuTorch's library, by a signal and with no word."""
    old = device_info(
        abi="arm64-v8a", android_sdk=28, cpu_features=("aes", "asimd", "crc32", "evtstrm", "fp")
    )

    if asked == "auto":
        choice = choose_format("auto", old, None)
        assert choice.format == "onnx"
        reason = choice.reason
    else:
        with pytest.raises(UsageError, match=r"cannot run \.pte") as caught:
            choose_format("pte", old, None)
        assert "--format onnx" in caught.value.fix
        reason = str(caught.value)

    assert "a processor with atomics (ARMv8.1: Cortex-A55, A75 and newer)" in reason
    newer = replace(old, cpu_features=("asimd", "atomics", "fp"))
    assert choose_format("pte", newer, None).format == "pte"
