"""What a phone's graphics processor can run, from what the phone tells."""

import json

import pytest
from examples import device_info
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.formats import VULKAN_TEXTURE_TEXELS
from mobilekit.phone.gpu import vulkan_obstacle
from mobilekit.phone.parse import ToldGpu, parse_vkjson, parse_vulkan_version
from mobilekit.records.device import Gpu

PHONE = device_info(abi="arm64-v8a", android_sdk=33, cpu_features=("asimd", "atomics"))


def gpu(vulkan_version="1.1", half_storage=None, texture_texels=None):
    return Gpu(
        name="Mali-G78",
        vulkan_version=vulkan_version,
        half_storage=half_storage,
        texture_texels=texture_texels,
    )


def listed(*features):
    before = ("reqGlEsVersion=0x30002", "android.hardware.usb.host")
    return "".join(f"feature:{each}\n" for each in (*before, *features))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # A Helio G99 with Android 15, a phone of Android 8, a Snapdragon 8 Elite.
        (
            listed("android.hardware.vulkan.level=1", "android.hardware.vulkan.version=4198400"),
            "1.1",
        ),
        (listed("android.hardware.vulkan.version=4194307"), "1.0"),
        (listed("android.hardware.vulkan.version=4206592").replace("\n", "\r\n"), "1.3"),
        (listed("android.hardware.vulkan.version=4210688", "android.hardware.wifi"), "1.4"),
        (listed("android.hardware.vulkan.compute", "android.hardware.wifi"), None),
        (listed("android.hardware.vulkan.version=1"), None),
        (listed("com.example.android.hardware.vulkan.version=4198400"), None),
        ("Error: unknown list type 'features'\n", None),
        ("", None),
    ],
)
def test_the_version_of_vulkan(text, expected):
    """The driver's version is a feature of the phone, packed as Vulkan packs it."""
    assert parse_vulkan_version(text) == expected


HALVES = {"storageBuffer16BitAccess": 1.0, "storageInputOutput16": 0.0}
NO_HALVES = {"storageBuffer16BitAccess": 0.0, "storageInputOutput16": 0.0}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"properties": {"deviceName": "Adreno (TM) 640"}}, ToldGpu(name="Adreno (TM) 640")),
        ({"properties": {"deviceName": "Mali\t\nG78"}}, ToldGpu(name="Mali G78")),
        ({"properties": {"deviceName": "Evil\x1b[2JGPU"}}, ToldGpu(name="Evil[2JGPU")),
        # Android 9 to 15, the newest, and a driver of Vulkan 1.2: the first tells of it twice.
        ({"16bitStorageFeatures": HALVES}, ToldGpu(half_storage=True)),
        ({"16bitStorageFeatures": NO_HALVES}, ToldGpu(half_storage=False)),
        ({"bit16StorageFeatures": HALVES}, ToldGpu(half_storage=True)),
        ({"core11": {"features": HALVES}}, ToldGpu(half_storage=True)),
        (
            {"16bitStorageFeatures": NO_HALVES, "core11": {"features": NO_HALVES}},
            ToldGpu(half_storage=False),
        ),
        ({"16bitStorageFeatures": {"storageBuffer16BitAccess": 1}}, ToldGpu(half_storage=True)),
        (
            {"properties": {"limits": {"maxImageDimension3D": 2048.0}}},
            ToldGpu(texture_texels=2048),
        ),
        ({"properties": {"limits": {"maxImageDimension3D": 512}}}, ToldGpu(texture_texels=512)),
        ({"properties": {"limits": {"maxImageDimension3D": float("inf")}}}, ToldGpu()),
        ({"properties": {"limits": {"maxImageDimension3D": float("nan")}}}, ToldGpu()),
        ({"properties": {"limits": {"maxImageDimension3D": "0x800"}}}, ToldGpu()),
        ({"properties": "x", "core11": []}, ToldGpu()),
    ],
)
def test_the_gpus_own_words(told, expected):
    """Each where it is told, as real numbers, which vkjson writes; nothing for a terminal to do."""
    assert parse_vkjson(json.dumps({"devices": [told, {}]})) == expected


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_whatever_is_told_is_read(text):
    """No text breaks either parser."""
    assert parse_vkjson(text) == ToldGpu()
    parse_vulkan_version(text)


@pytest.mark.parametrize("text", ['{"devices": []}', '{"devices": {"0": 1}}', "[" * 100_000])
def test_a_service_without_a_gpu(text):
    assert parse_vkjson(text) == ToldGpu()


@pytest.mark.parametrize("version", ["1.1", "1.3", "1.10", "2.0"])
@pytest.mark.parametrize("half_storage", [None, True])
def test_a_phone_that_runs_it(version, half_storage):
    for precision in ("fp32", "fp16"):
        assert vulkan_obstacle(PHONE, gpu(version, half_storage), None, precision) is None


@pytest.mark.parametrize(
    ("obstacle", "expected"),
    [
        (vulkan_obstacle(PHONE, gpu(None), None, "fp32"), "no Vulkan"),
        (vulkan_obstacle(PHONE, gpu("1.0"), None, "fp32"), "Vulkan 1.0, and ExecuTorch needs 1.1"),
        (vulkan_obstacle(PHONE, gpu("1.3", False), None, "fp16"), "no storage of 16 bits"),
        (
            vulkan_obstacle(PHONE, gpu(texture_texels=1024), "ready", "fp32"),
            "at most 1,024 texels a side, and programs for Vulkan are made for 2,048",
        ),
        (
            vulkan_obstacle(device_info(abi="armeabi-v7a", android_sdk=33), gpu(), None, "fp32"),
            "no library for armeabi-v7a",
        ),
        (
            vulkan_obstacle(
                device_info(abi="arm64-v8a", android_sdk=33, cpu_features=("asimd",)),
                gpu(),
                None,
                "fp32",
            ),
            "needs a processor with atomics",
        ),
        (vulkan_obstacle(PHONE, gpu(), "python", "fp32"), "--companion native"),
        (vulkan_obstacle(PHONE, gpu(), "jvm", "fp32"), "runs no .pte"),
        (vulkan_obstacle(PHONE, gpu(), "no_driver", "fp32"), "mesa-vulkan-drivers"),
        (vulkan_obstacle(PHONE, None, None, "fp32"), "for computers has no Vulkan"),
    ],
)
def test_why_a_phone_does_not(obstacle, expected):
    """Each obstacle says what is missing."""
    assert expected in obstacle


def test_halves_are_asked_for_by_halves_alone():
    assert vulkan_obstacle(PHONE, gpu("1.3", False), None, "fp32") is None
    assert vulkan_obstacle(PHONE, gpu(), "ready", "fp16") is None


def test_textures_that_just_suffice():
    assert vulkan_obstacle(PHONE, gpu("1.1", True, VULKAN_TEXTURE_TEXELS), None, "fp32") is None
