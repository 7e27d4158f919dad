"""The guide says what the program does: commands, options, findings, exit codes, presets, links."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from command_tree import COMMANDS
from examples import measurement

from mobilekit import errors
from mobilekit.analysis.answer import derive_answer
from mobilekit.cli.main import COMMANDS as LISTED
from mobilekit.contract.codec import encode_pretty
from mobilekit.phone.profiles import parse_profile
from mobilekit.presets import PRESETS, WARMUP
from mobilekit.results.documents import make_measurement_document
from mobilekit.results.exchange import render_figures_csv
from mobilekit.results.samples_csv import render_samples_csv
from mobilekit.units import NS_PER_S

ROOT = Path(__file__).parents[1]
CHAPTERS = (
    "models",
    "devices",
    "measuring",
    "layers",
    "partitioning",
    "evaluate",
    "compressing",
    "energy",
    "untethered",
    "meter",
    "compare",
    "predicting",
    "campaigns",
    "checking",
    "results",
)
GUIDE = [ROOT / "README.md", *(ROOT / f"docs/{name}.md" for name in CHAPTERS)]
PAGES = sorted({*GUIDE, ROOT / "DEVELOP.md", *(ROOT / "docs").glob("*.md")})
TEXT = {page: page.read_text(encoding="utf-8") for page in PAGES}
GUIDE_TEXT = "\n".join(TEXT[page] for page in GUIDE)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(text: str, kind: str) -> list[str]:
    """The fenced blocks that begin with exactly ```kind."""
    return re.findall(rf"^```{re.escape(kind)}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def rows(text: str) -> list[list[str]]:
    """The cells of every table row."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|") and not line.startswith("|---")
    ]


def anchors(text: str) -> set[str]:
    """What links into a page may name: its headings as GitHub spells them."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# --- commands ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_guide_and_has_help(name):
    """A person finds each command in the guide, and a sentence about it in its help."""
    assert re.search(rf"`{name}\b|^(\$ )?{name}\b", GUIDE_TEXT, flags=re.MULTILINE)
    assert COMMANDS[name].help


@pytest.mark.parametrize("name", LISTED)
def test_the_list_says_of_a_command_what_its_own_help_says(name):
    """The line that is shown without importing the command is the first of its help."""
    _, line = LISTED[name]

    assert COMMANDS[f"mobilekit {name}"].help.split("\n\n")[0] == line


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help(name):
    """No option is left to guessing."""
    options = [item for item in COMMANDS[name].params if item.param_type_name == "option"]

    assert [option.name for option in options if not option.help] == []


def test_every_option_of_deploy_is_in_the_guide():
    """Each way to spell it, but for ``--help``."""
    parameters = COMMANDS["mobilekit deploy"].params
    spellings = [
        spelling
        for item in parameters
        if item.param_type_name == "option"
        for spelling in (*item.opts, *item.secondary_opts)
    ]

    missing = [one for one in spellings if not re.search(rf"[` ]{one}[` ,.]", GUIDE_TEXT)]
    assert spellings
    assert missing == []


def test_the_guide_names_no_command_that_is_not_there():
    """What stands in code as a command of mobilekit is one, and takes the options beside it."""
    examples = re.findall(r"`(mobilekit(?: [^`\n]+)?)`", GUIDE_TEXT)
    fenced = "\n".join(blocks(GUIDE_TEXT, "sh") + blocks(GUIDE_TEXT, "text"))
    examples += re.findall(r"^ *(?:\$ )?(mobilekit [a-z][^\n]*)$", fenced, flags=re.MULTILINE)
    for example in examples:
        words = re.split(r"[|>#]", example)[0].split()
        name = words.pop(0)
        if words[:1] == ["--adb"]:
            del words[:2]
        while words and f"{name} {words[0]}" in COMMANDS:
            name = f"{name} {words.pop(0)}"
        if name == "mobilekit energy" and words:
            name = "mobilekit energy measure"  # What it means with a model's name.
        command = COMMANDS[name]
        known = {one for item in command.params for one in (*item.opts, *item.secondary_opts)}
        given = {word for word in words if word.startswith("-")} - {"--help", "-h"}
        assert given <= known, example
        assert not hasattr(command, "commands") or not set(words) - given, example


def test_the_guide_names_no_option_that_is_not_there():
    """An option that stands alone in code is one of some command."""
    known = {one for item in COMMANDS.values() for p in item.params for one in p.opts}
    known |= {one for item in COMMANDS.values() for p in item.params for one in p.secondary_opts}

    assert set(re.findall(r"`(--[a-z-]+)", GUIDE_TEXT)) <= known


def test_the_guide_names_the_schemas_of_today():
    """A document's number is raised there too."""
    named = r"mobilekit\.[a-z-]+/\d+"
    known = re.findall(named, (ROOT / "docs/schema.json").read_text(encoding="utf-8"))

    assert set(re.findall(named, GUIDE_TEXT)) == set(known)


# --- tables ------------------------------------------------------------------------------------


def test_the_findings_are_those_of_the_program():
    """Each id with its severity: the table has all of them and no others."""
    in_program = {}
    nodes = [
        node
        for path in ("findings.py", "energy/doubts.py")
        for node in ast.walk(ast.parse((ROOT / "mobilekit/analysis" / path).read_text("utf-8")))
    ]
    for node in nodes:
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
            values = {
                word.arg: word.value.value
                for word in node.keywords
                if isinstance(word.value, ast.Constant)
            }
            in_program[values["id"]] = values["severity"]
    page = TEXT[ROOT / "docs/measuring.md"]
    table = page[page.index("## Findings") :]

    in_guide = {row[0].strip("`"): row[1] for row in rows(table) if re.match(r"`[A-Z-]+`$", row[0])}
    assert in_guide == in_program


def test_the_exit_codes_are_those_of_the_program():
    """Each error stands beside its own exit code."""
    page = TEXT[ROOT / "docs/results.md"]
    table = rows(page[page.index("## Exit codes") :])
    in_guide = {
        name: int(row[0])
        for row in table
        if row[0].isdigit()
        for name in re.findall(r"`(\w+Error)`", row[2])
    }
    in_program = {
        name: value.exit_code
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.MobilekitError)
    }

    assert in_guide == in_program


def test_the_presets_are_those_of_the_program():
    """Every number of the presets' table, and of the warm-up rule."""
    page = TEXT[ROOT / "docs/measuring.md"]
    table = rows(page[page.index("<!-- presets") : page.index("Both lower bounds")])
    order = [
        {"`--fast`": "fast", "default": "default", "`--rigorous`": "rigorous"}[cell]
        for cell in table[0][1:]
    ]
    presets = [PRESETS[name] for name in order]
    expected = [
        [f"{preset.cold_loads}" for preset in presets],
        [f"{preset.min_iterations:,}" for preset in presets],
        [f"{preset.min_duration_ns / NS_PER_S:,g} s" for preset in presets],
        [f"{preset.max_duration_ns // NS_PER_S:,} s" for preset in presets],
        [f"{preset.energy_blocks}" for preset in presets],
        [f"{preset.energy_target_error:.0%}".replace("%", " %") for preset in presets],
    ]

    assert set(order) == set(PRESETS)
    assert [row[1:] for row in table[1:]] == expected
    assert f"newest {WARMUP.window_iterations} iterations" in page
    assert f"at least {1 - WARMUP.tolerance:g} of the median" in page
    assert f"after {WARMUP.max_iterations} iterations" in page
    assert f"after {WARMUP.max_duration_ns // NS_PER_S} s of" in page


# --- examples ----------------------------------------------------------------------------------


def test_the_example_profile_is_one():
    """What a person copies from the guide is a profile."""
    (text,) = blocks(TEXT[ROOT / "docs/devices.md"], "toml")

    assert parse_profile(text.encode(), "docs/devices.md").name == "myphone"


@pytest.fixture
def exported(tmp_path):
    """A directory with what ``results export`` writes."""
    made = measurement()
    (tmp_path / "nin.json").write_bytes(
        encode_pretty(make_measurement_document(made, derive_answer(made), None))
    )
    (tmp_path / "nin.csv").write_text(render_samples_csv([made]), encoding="utf-8")
    (tmp_path / "figures.csv").write_text(render_figures_csv([made]), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("code", blocks(GUIDE_TEXT, "python run"))
def test_python_examples_run(code, exported, monkeypatch):
    """They find in an exported document what they look for."""
    monkeypatch.chdir(exported)

    exec(compile(code, "example", "exec"), {})


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")
@pytest.mark.parametrize("code", blocks(GUIDE_TEXT, "sh run"))
def test_shell_examples_run(code, exported):
    """They find in an exported document what they look for."""
    done = subprocess.run(
        ["sh", "-ec", code], cwd=exported, capture_output=True, text=True, check=True
    )

    assert "null" not in done.stdout.replace('"gross_j": null', "")


# --- links and paths ---------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page):
    """A link to a file or to a heading leads there."""
    for target, fragment in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", TEXT[page]):
        if "://" in target:
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), target
        if fragment:
            assert fragment in anchors(path.read_text(encoding="utf-8")), f"{target}#{fragment}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_named_files_exist(page):
    """A path of this repository that is named in code is there."""
    # Written by scripts/bench.py.
    made = {"docs/performance.md"}
    for name in re.findall(r"`((?:mobilekit|models|tests|scripts|docs)/[\w./-]*)`", TEXT[page]):
        assert name in made or (ROOT / name).exists(), name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_path_of_a_machine(page):
    """Nothing that exists on one computer only."""
    assert re.findall(r"(?<![\w.~-])/(?:home|root|Users|work|tmp|mnt|opt)/\S*", TEXT[page]) == []
