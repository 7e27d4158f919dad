"""The page that ``report`` writes: its figures, strangers' text in it, and a browser's view."""

import re
from html.parser import HTMLParser

import pytest
from browser import CHROMIUM, fetch_axe, running_browser
from msgspec.structs import replace
from reports import FAILED, HOSTILE, evaluated, few, here, hostile, many, run, windows
from typer.testing import CliRunner

from mobilekit.analysis.compare.records import Quantity
from mobilekit.analysis.repeats import gather_repeats, pool
from mobilekit.cli.main import app
from mobilekit.contract.codec import decode
from mobilekit.errors import UsageError
from mobilekit.plain import plain
from mobilekit.records.statistics import Interval
from mobilekit.results.exchange import benchmark_name
from mobilekit.results.report.document import (
    ReportDocument,
    _newest_of_each_way,
    make_report_document,
)
from mobilekit.results.report.page import html_rows, render_report
from mobilekit.results.report.sections import make_sections
from mobilekit.results.store import Store
from mobilekit.results.tables.cells import make_table


def page_of(runs):
    ordered = sorted(runs, key=lambda each: each.started_at, reverse=True)
    return render_report(make_report_document("Results", "2026-05-05T00:00:00", ordered, [], []))


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.names, self.texts, self.held, self.attributes = [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.names.append(tag)
        self.attributes += attributes
        self.held = tag if ("id", "report") in attributes else ""

    def handle_data(self, data):
        self.texts.append(data)
        if self.held == "script":
            self.document = decode(data, ReportDocument, source="the page")
            self.held = ""


# --- several runs ------------------------------------------------------------------------------


def quantity(value, low=None, high=None):
    return Quantity(value=value, interval=None if low is None else Interval(low=low, high=high))


def test_runs_together():
    """One is itself, two span their range, and of six the spread counts."""
    one, two = quantity(10.0, 9.9, 10.1), quantity(12.0, 11.9, 12.5)

    assert pool([one]) == (one, "one run")
    both, what = pool([one, two])
    assert what == "range of runs"
    assert both.value == pytest.approx(120**0.5)
    assert both.interval == Interval(low=9.9, high=12.5)
    alike, what = pool([quantity(value, value, value) for value in (9, 10, 11, 9, 10, 11)])
    assert what == "interval of runs"
    # The logarithms' deviation is 0.0898; t of 5 degrees 2.571; over the root of 6.
    assert alike.interval.high / alike.value == pytest.approx(1.0989, abs=5e-4)


def test_only_runs_alike_are_put_together_and_none_with_an_error():
    repeats = gather_repeats([each for each in few() if each.purpose == "measure"])

    ids = [each.ids for each in repeats]
    assert ("nin-nexus7-a", "nin-nexus7-b", "traced-nexus7") in ids
    assert not any("squeezenet-nexus7" in each for each in ids)


def test_presets_are_not_put_together():
    """Shorter runs are no repeats of longer ones, and have another name in exports."""
    one = few()[0]
    other = replace(one, id="short", request=replace(one.request, min_iterations=7))
    first, second = gather_repeats([one, other])

    assert (first.ids, second.ids) == ((one.id,), ("short",))
    assert benchmark_name(first.arrangement) != benchmark_name(second.arrangement)


def test_nothing_of_a_run_with_an_error_is_charted():
    """Neither its accuracy nor its power; the list of results and the findings have it."""
    wrong = [
        evaluated("wrong-digits", 0.3, 18, model="digits", findings=(FAILED,)),
        run("wrong-nin", 1080, windows=windows(), findings=(FAILED,)),
    ]
    document = make_report_document("Results", "2026-05-05T00:00:00", wrong, [], [])
    parts = [part.title for section in make_sections(document) for part in section.parts]

    assert document.powers == ()
    assert document.repeats == ()
    assert not any("ccuracy" in title or "ower" in title for title in parts)
    assert "Doubts about the results" in parts


def test_a_later_run_of_another_network_hides_no_pair():
    """Of a phone the newest run counts that is like one here; without one it says what differs."""

    def content(run, name):
        model = replace(run.artifact.model, content_sha256=name * 64)
        return replace(run, artifact=replace(run.artifact, model=model))

    runs = [
        content(run("phone-new", 1000, hour=14), "b"),
        content(run("other-new", 900, phone="pixel8", hour=13), "c"),
        run("phone-old", 1080, hour=12),
        here("pc", 12.5, hour=11),
    ]

    document = make_report_document("Results", "2026-05-05T00:00:00", runs, [], [])

    (comparison,) = document.comparisons
    like, unlike = comparison.sides
    assert (comparison.against.id, like.id, unlike.id) == ("pc", "phone-old", "other-new")
    assert not any(each.refuses for each in like.differences)
    assert [each.id for each in unlike.differences if each.refuses] == ["network"]


def test_a_run_of_an_older_mobilekit_is_no_way_of_its_own():
    """Of runs that may be compared with one another the newest of each device alone counts."""

    def older(run):
        return replace(run, host=replace(run.host, mobilekit_version="0.0.1"))

    runs = [
        run("phone-new", 1000, hour=14),
        here("pc-new", 12.0, hour=13),
        older(run("phone-old", 1080, hour=12)),
        older(here("pc-old", 12.5, hour=11)),
    ]

    newest = _newest_of_each_way(runs)

    assert [each.id for each in newest] == ["phone-new", "pc-new"]


# --- the page ----------------------------------------------------------------------------------


def test_what_strangers_wrote_is_text():
    """No element, attribute or script comes of it; the table and the document hold it whole."""
    page = page_of(hostile())
    found = Elements(page)

    assert "img" not in found.names
    assert "onerror" not in {name for name, _ in found.attributes}
    assert found.names.count("script") == 5
    assert found.document.results[0].host == HOSTILE
    assert any(plain(HOSTILE) in text for text in found.texts)


def test_a_campaign_or_ids_are_chosen(tmp_path, monkeypatch):
    store = Store(tmp_path / "results.sqlite")
    for each in [*few("night"), run("alone", 5), here("pc-alone", 1)]:
        store.save(each)
    monkeypatch.setenv("MOBILEKIT_STORE", f"sqlite:///{tmp_path / 'results.sqlite'}")

    def ids(*words):
        file = tmp_path / "page.html"
        outcome = CliRunner().invoke(app, ["report", *words, "-o", str(file)])
        assert outcome.exit_code == 0, outcome.output
        return {each.id for each in Elements(file.read_text("utf-8")).document.results}

    night = {each.id for each in few()}
    assert ids("night") == night
    assert ids("night", "alone") == night | {"alone"}
    assert ids() == night | {"alone", "pc-alone"}
    refused = CliRunner().invoke(app, ["report", "nobody", "-o", str(tmp_path / "none.html")])
    assert isinstance(refused.exception, UsageError)
    assert not (tmp_path / "none.html").exists()


# --- in a browser ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    with running_browser(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    return fetch_axe(tmp_path_factory.mktemp("axe"))


def show(browser, directory, runs):
    file = directory / "report.html"
    file.write_text(page_of(runs), encoding="utf-8")
    browser.open(file)
    assert browser.complaints == []
    assert browser.requests == [file.as_uri()]


def test_texts_that_begin_with_numbers_are_sorted_by_them():
    """Where all of a column do; dates and names are texts."""
    table = make_table(
        ("network", "examples", "battery", "first (UTC)", "as"),
        (
            ("net", "1,200", "31.0 to 33.5 °C", "2026-05-04 10:00", "4 threads"),
            ("9 nets", "90", "-", "2026-05-05 10:00", "pte"),
        ),
    )

    keys = [[cell.sort for cell in row] for row in html_rows(table)]

    assert keys == [
        ["net", "1200", "31.0", "2026-05-04 10:00", "4 threads"],
        ["9 nets", "90", "", "2026-05-05 10:00", "pte"],
    ]


def test_a_papers_figures_stand_beside_ours():
    """Of a network that was measured here."""
    page = Elements(page_of(few()))

    assert "fantozzi2016" in {each.name for each in page.document.published}
    assert {"ours: nexus7", "theirs: nexus7"} <= {text.strip() for text in page.texts}


def test_its_button_changes_the_theme_and_print_unfolds_it(browser, tmp_path):
    """Dark and light whatever the system asks, and back; what is folded is printed too."""
    browser.theme("light")
    show(browser, tmp_path, many(networks=4, phones=1, repeats=1))
    paper = "getComputedStyle(document.body).backgroundColor"
    press = "document.getElementById('theme').click()"
    themes = [browser.evaluate(paper)]
    for _ in range(3):
        browser.evaluate(press)
        themes.append(browser.evaluate(paper))
    folded = "document.querySelectorAll('details:not([open])').length"
    before = browser.evaluate(folded)
    browser.evaluate("dispatchEvent(new Event('beforeprint'))")

    assert themes[0] == themes[2] == themes[3] != themes[1]
    assert browser.evaluate("document.getElementById('theme').textContent") == "Theme: system"
    assert (before > 0, browser.evaluate(folded)) == (True, 0)
    assert browser.evaluate("document.querySelectorAll('.chart:not(:has(svg))').length") == 0


@pytest.mark.parametrize("runs", [few, hostile])
def test_a_browser_shows_it(browser, tmp_path, runs):
    """No complaint and no request; every chart is drawn; it prints."""
    show(browser, tmp_path, runs())

    assert browser.evaluate("document.querySelectorAll('.chart').length") > 4
    assert browser.evaluate("document.querySelectorAll('.chart:not(:has(svg))').length") == 0
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert browser.pdf().startswith(b"%PDF")
    assert browser.complaints == []


def test_it_sorts_by_keyboard(browser, tmp_path):
    """By numbers as numbers, either way, and says which to a screen reader."""
    show(browser, tmp_path, few())
    head = "document.querySelector('#measured thead th:nth-child(7)')"
    cells = "[...document.querySelectorAll('#measured table')][0].tBodies[0].rows"

    orders = []
    for _ in range(2):
        browser.evaluate(f"{head}.querySelector('button').focus()")
        browser.press("Enter", 13)
        browser.evaluate("new Promise((done) => setTimeout(done, 50))")
        values = browser.evaluate(f"[...{cells}].map((row) => Number(row.cells[6].dataset.sort))")
        orders.append((browser.evaluate(f"{head}.getAttribute('aria-sort')"), values))

    (first, up), (second, down) = orders
    assert (first, second) == ("ascending", "descending")
    assert up == sorted(up)
    assert down == sorted(up, reverse=True)
    assert len(set(up)) > 4


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_accessible_in_both_themes(browser, axe, tmp_path, theme):
    """As the system asks, and no serious finding of axe in it."""
    browser.theme(theme)
    show(browser, tmp_path, few())
    paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")

    assert (min(map(int, re.findall(r"\d+", paper)[:3])) > 128) == (theme == "light")
    assert browser.serious_findings(axe) == []
