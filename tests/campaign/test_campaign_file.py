"""What a campaign's file says, and the runs that it stands for."""

import msgspec
import pytest

from mobilekit.campaign.expand import expand
from mobilekit.campaign.file import MAX_RUNS, parse_plan, read_plan
from mobilekit.contract.codec import decode, encode
from mobilekit.errors import CampaignFileError, UsageError
from mobilekit.records.campaign import CampaignPlan

WHOLE = """
name = "overnight"
models = ["nin", "mine.py:Net"]
devices = ["nexus7", "desk2/pixel8"]
formats = ["auto", "onnx"]
precisions = ["fp32", "int8"]
threads = ["all", 2]
repeats = 3
preset = "fast"
energy = "unplug"
seed = 7
move_after_s = 600

[gates]
max_temperature_c = 35.5
min_level_percent = 30
rest_s = 20
patience_s = 900
"""
SMALL = 'models = ["nin"]\ndevices = ["nexus7"]\n'


def plan_of(text, path):
    return parse_plan(text.encode(), path / "campaign.toml")


def test_a_whole_file_is_read(tmp_path):
    """Every field, in its unit; a model's file is found beside it."""
    (tmp_path / "mine.py").touch()

    plan = plan_of(WHOLE, tmp_path)

    assert (plan.name, plan.repeats, plan.preset, plan.energy, plan.seed) == (
        "overnight",
        3,
        "fast",
        "unplug",
        7,
    )
    assert plan.model_paths == ("nin", f"{tmp_path / 'mine.py'}:Net")
    assert plan.threads == (None, 2)
    assert plan.gates.max_temperature_decicelsius == 355
    assert (plan.gates.min_level_percent, plan.gates.rest_s, plan.gates.patience_s) == (30, 20, 900)
    assert plan.move_after_s == 600


def test_a_small_file_has_defaults_and_a_seed_of_its_own(tmp_path):
    """Two lines are a campaign; its name is the file's."""
    first, second = plan_of(SMALL, tmp_path), plan_of(SMALL, tmp_path)

    assert first.name == "campaign"
    assert len(expand(first)) == 1
    assert first.seed != second.seed


def test_points_in_texts_are_not_those_of_keys(tmp_path):
    """Of every kind of text, and of comments."""
    points = ".".join("abcdefghijk")
    kinds = (f"'1{points}'", f'"2{points}"', f"'''3\n{points}'''", f'"""4\\"{points}"""')
    models = ", ".join(kinds) + f" # {points}"

    plan = plan_of(f'models = [\n{models}\n]\ndevices = ["nexus7"]\n', tmp_path)

    assert len(plan.models) == 4


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("models = [", "Invalid value"),
        ('models = ["nin"]', "devices"),
        (f'{SMALL}modles = ["nin"]', "modles"),
        (f"{SMALL}repeats = 1.5", "repeats"),
        (f"{SMALL}repeats = 0", "`repeats` is 0"),
        (f'{SMALL}preset = "slow"', "preset"),
        (f'{SMALL}precisions = ["fp8"]', "precisions"),
        (f"{SMALL}threads = [0]", "`threads` has 0"),
        (f'{SMALL}threads = ["some"]', "`threads` has 'some'"),
        ('models = ["nin", "nin"]\ndevices = ["a"]', "`models` has 'nin' twice"),
        ('models = []\ndevices = ["a"]', "`models` is empty"),
        ('models = [""]\ndevices = ["a"]', "empty name"),
        (f'{SMALL}name = "a/b"', "the name 'a/b'"),
        (f"{SMALL}[gates]\nmax_temperature_c = nan", "max_temperature_c` is nan"),
        (f"{SMALL}[gates]\nmin_level_percent = 101", "min_level_percent` is 101"),
        (f"{SMALL}[gates]\nhumidity = 1", "humidity"),
        (f"{SMALL}move_after_s = 1", "`move_after_s` is 1"),
        (f"{SMALL}repeats = {'9' * 5000}", "digits"),
        (f"{SMALL}{'.'.join('a' * 20_000)} = 1", "a key of 20,000 parts, and 8 are the most"),
        (SMALL + "gates = {" + ".".join(['"" '] * 9) + " = 1}", "a key of 9 parts"),
        ("[" + " . ".join(["'a=b'"] * 9) + "]", "a key of 9 parts"),
        (f'{SMALL}name = "{"a" * 600}"', "aaa[.]{3} .file"),
        # No text that begins is read to its end more than once.
        ('\\"""\n' * 20_000 + "\\", "line 1"),
        ('models = [{ model = "nin" }]\ndevices = ["a"]', "nin in `models` has neither"),
        ('models = [{ model = "" }]\ndevices = ["a"]', "empty name"),
        (f"repeats = 10000\nthreads = {list(range(1, 30))}\n{SMALL}", f"{MAX_RUNS:,}"),
    ],
)
def test_what_is_wrong_is_named(text, why, tmp_path):
    """With the file, the field and where the format is told."""
    with pytest.raises(CampaignFileError, match=why) as raised:
        plan_of(text, tmp_path)

    assert raised.value.facts["file"] == str(tmp_path / "campaign.toml")
    assert "mobilekit docs campaigns" in raised.value.fix


def test_a_name_that_no_file_can_have_is_left(tmp_path):
    """It is for the lookup of networks to say that there is none."""
    plan = plan_of(f'models = ["{"x" * 5000}"]\ndevices = ["pc"]', tmp_path)

    assert plan.model_paths == plan.models


def test_a_file_that_is_not_there_is_told(tmp_path):
    """As an error of its own, not as a traceback."""
    with pytest.raises(CampaignFileError, match="cannot be read"):
        read_plan(tmp_path / "none.toml")


def test_every_combination_is_one_run(tmp_path):
    """Each with a key of its own, and no other."""
    runs = expand(plan_of(WHOLE, tmp_path))

    assert len(runs) == len({run.key for run in runs}) == 2 * 2 * 2 * 2 * 2 * 3
    assert {run.repeat for run in runs} == {1, 2, 3}


def test_keys_stay_whatever_else_is_measured(tmp_path):
    """A model more, and lists in another order: the same runs keep their keys."""
    small = expand(plan_of(SMALL, tmp_path))
    more = expand(plan_of('models = ["alexnet", "nin"]\ndevices = ["pc", "nexus7"]', tmp_path))

    assert {run.key for run in small} < {run.key for run in more}
    assert all("nin-nexus7-fp32-1-" in run.key for run in small)


def test_the_order_is_the_seeds(tmp_path):
    """The same with the same seed, whatever the order of the lists; another with another."""
    turned = WHOLE.replace('"nexus7", "desk2/pixel8"', '"desk2/pixel8", "nexus7"')
    keys = [
        [run.key for run in expand(plan_of(text, tmp_path))]
        for text in (WHOLE, turned, WHOLE.replace("seed = 7", "seed = 8"))
    ]

    assert keys[0] == keys[1]
    assert keys[0] != keys[2]
    assert sorted(keys[0]) == sorted(keys[2])
    assert keys[0] != sorted(keys[0])


def test_vulkan_is_not_asked_of_other_formats(tmp_path):
    """A combination that cannot be is no run; a network that has such alone is refused."""
    both = plan_of(f'{SMALL}backends = ["xnnpack", "vulkan"]\nformats = ["pte", "onnx"]', tmp_path)
    none = msgspec.structs.replace(both, backends=("vulkan",), formats=("onnx",))

    assert len(expand(both)) == 3
    with pytest.raises(UsageError, match=r"no runs of nin: --backend vulkan is for \.pte"):
        expand(none)


COMPRESSED = """{
  "schema": "mobilekit.compressed/1", "model": "nin", "precision": "int8",
  "compression": {"ranks": [{"layer": "features.0", "rank": 8}]}
}"""
PLACEMENT = """{
  "schema": "mobilekit.placement/1", "model": "nin",
  "placement": [{"backend": "portable", "layers": ["features.0"]}]
}"""


def test_a_network_that_a_file_changes_is_a_run_of_its_own(tmp_path):
    """In the file's precision alone, with a key that tells it, beside the whole one, whose key is
    the one that it has without."""
    (tmp_path / "small.json").write_text(COMPRESSED)
    (tmp_path / "plan.json").write_text(PLACEMENT)
    more = (
        ', { model = "nin", compressed = "small.json" }, { model = "nin", placement = "plan.json" }'
    )
    precisions = 'devices = ["pc"]\nprecisions = ["fp32", "fp16"]'

    alone = expand(plan_of(f'models = ["nin"]\n{precisions}', tmp_path))
    plan = plan_of(f'models = ["nin"{more}]\n{precisions}', tmp_path)
    runs = expand(plan)

    assert {run.key for run in alone} < {run.key for run in runs}
    assert len({run.key for run in runs}) == len(runs) == 4
    variants = {run.variant.key: run for run in runs}
    [cut] = [key for key in variants if key.startswith("lowrank")]
    assert cut.endswith("-int8")
    assert cut.removesuffix("-int8") in variants[cut].key
    [placed] = [key for key in variants if key.startswith("placed")]
    assert variants[placed].variant.placement
    # What hosts are told is what was read.
    assert decode(encode(plan), CampaignPlan, source="store") == plan


def test_what_a_changed_network_cannot_be_is_no_run(tmp_path):
    """And keeps none of the others back: a placement in another format or on one backend, int8 on
    Vulkan."""
    (tmp_path / "small.json").write_text(COMPRESSED)
    (tmp_path / "plan.json").write_text(PLACEMENT)
    runs = expand(
        plan_of(
            'models = ["nin", { model = "nin", placement = "plan.json" }, { model = "nin", '
            'compressed = "small.json" }]\ndevices = ["pc"]\nformats = ["pte", "onnx"]\n'
            'backends = ["xnnpack", "vulkan"]',
            tmp_path,
        )
    )

    found = sorted((run.variant.is_by_file, run.precision, run.format, run.backend) for run in runs)
    assert found == [
        (False, "fp32", "onnx", "xnnpack"),
        (False, "fp32", "pte", "vulkan"),
        (False, "fp32", "pte", "xnnpack"),
        (True, "fp32", "pte", "xnnpack"),
        (True, "int8", "onnx", "xnnpack"),
        (True, "int8", "pte", "xnnpack"),
    ]


def test_a_file_of_another_network_is_refused(tmp_path):
    """By its name, and with the campaign's."""
    (tmp_path / "small.json").write_text(COMPRESSED)
    for compressed, said in (("small.json", "made for nin, and this is svhn"), ("no", "cannot be")):
        text = f'models = [{{ model = "svhn", compressed = "{compressed}" }}]\ndevices = ["a"]'
        with pytest.raises(CampaignFileError, match=said) as raised:
            plan_of(text, tmp_path)
        assert raised.value.facts["campaign"] == str(tmp_path / "campaign.toml")


def test_two_files_that_say_the_same_are_refused(tmp_path):
    """Their runs would have the same keys."""
    for name in ("one.json", "two.json"):
        (tmp_path / name).write_text(COMPRESSED)
    of = ", ".join(f'{{ model = "nin", compressed = "{each}.json" }}' for each in ("one", "two"))
    with pytest.raises(CampaignFileError, match="in the same way"):
        plan_of(f'models = [{of}]\ndevices = ["a"]', tmp_path)
