"""The HTML report: all of the trace is in it, nothing of the model becomes markup, nothing comes from elsewhere."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.trace import TABLES, Cause, Trace, empty
from profiler.analyses.engine_time import NAMES
from profiler.analyses.stalls import stalls
from profiler.html import gather, write
from profiler.html.columns import Block, read
from profiler.html.tracks import lanes
from profiler.html.writer import SCRIPTS, json_text
from tests.profiler.export_traces import HOSTILE, machine, random_trace
from tests.profiler.report_programs import programs


class Page(HTMLParser):
    """Elements of a page by tag, and the texts of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open = tag
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.open == "script":
            self.scripts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.open = ""

    def json(self, name: str) -> Any:
        """The JSON in a script element."""
        ids = [attributes.get("id") for tag, attributes in self.tags if tag == "script"]
        return json.loads(self.scripts[ids.index(name)])


@pytest.fixture(scope="module")
def trace() -> Trace:
    return random_trace(3)


@pytest.fixture(scope="module")
def text(trace: Trace, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write(trace, programs(), machine(), gather(trace, programs(), machine()), path)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def columns_of(page: Page, text: str) -> list[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """Every track with its columns unpacked."""
    block = re.search(r'id="columns">([A-Za-z0-9+/=]*)<', text)
    assert block
    return [(t, {c: read(block[1], where) for c, where in t.get("columns", {}).items()})
            for t in page.json("timeline-data")["tracks"]]  # fmt: skip


# ---- columns
@given(st.lists(st.integers(-(2**51), 2**51)))
def test_columns_come_back(values: list[int]) -> None:
    block = Block()
    before, mine = block.add(np.arange(5)), block.add(np.array(values, np.int64))
    assert read(block.text(), mine).tolist() == values
    assert read(block.text(), before).tolist() == [0, 1, 2, 3, 4]


def test_a_number_beyond_doubles_is_refused() -> None:
    with pytest.raises(ValueError, match="double"):
        Block().add(np.array([2**53]))


# ---- the whole trace is in it
def test_every_row_has_its_slice(page: Page, text: str, trace: Trace) -> None:
    found: dict[str, list[tuple[int, int]]] = {}
    for track, columns in columns_of(page, text):
        if "start" in columns:
            rows = zip(np.cumsum(columns["start"]).tolist(), columns["length"].tolist())
            found.setdefault(track["kind"], []).extend(rows)
    tables = {"words": "instructions", "transfers": "transfers", "runs": "runs", "host": "host", "requests": "requests"}
    assert set(found) == set(tables)
    for kind, table in tables.items():
        columns = getattr(trace, table)
        expected = zip(columns["start"].tolist(), (columns["end"] - columns["start"]).tolist())
        assert sorted(found[kind]) == sorted(expected), kind


def test_waits_are_those_of_the_stall_analysis(page: Page, text: str, trace: Trace) -> None:
    counted = np.zeros(len(NAMES), np.int64)
    waited = 0
    for track, columns in columns_of(page, text):
        if track.get("kind") == "words":
            counted += np.bincount(columns["wait"], minlength=len(NAMES))
            waited += int(columns["waited"].sum())
    word_class = stalls(trace, programs(), machine()).word_class
    assert counted.tolist() == np.bincount(word_class, minlength=len(NAMES)).tolist()
    table = trace.instructions
    assert waited == (table["start"] - table["wait_start"])[word_class > 0].sum() > 0


def test_a_word_leads_to_what_it_waited_for(page: Page, text: str, trace: Trace) -> None:
    tracks = columns_of(page, text)
    starts = {(t["base"], t["row"]): np.cumsum(c["start"]) for t, c in tracks if t.get("kind") == "words"}
    found = []
    for track, columns in tracks:
        if track.get("kind") == "words":
            place: dict[int, int] = {}
            owners = starts[track["base"], track["row"]][columns["wait"] > 0].tolist()
            for start, row, step in zip(owners, columns["from_row"].tolist(), columns["from_step"].tolist()):
                if row:
                    place[row] = place.get(row, 0) + step
                    found.append((start, int(starts[track["base"], row - 1][place[row]])))
    table = trace.instructions
    word_class = stalls(trace, programs(), machine()).word_class
    rows = np.flatnonzero((table["cause"] != Cause.NONE) & (table["cause_op"] >= 0) & (word_class > 0))
    expected = zip(table["start"][rows].tolist(), table["start"][table["cause_op"][rows]].tolist())
    assert sorted(found) == sorted(expected)
    assert found


def test_a_large_trace_names_engines_only(trace: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profiler.html.writer.LARGE", 1000)
    write(trace, programs(), machine(), {}, tmp_path / "report.html")
    timeline = Page((tmp_path / "report.html").read_text(encoding="utf-8")).json("timeline-data")
    assert timeline["producers"] is False
    columns = [set(t["columns"]) for t in timeline["tracks"] if t.get("kind") == "words"]
    assert columns and all("wait" in c and not {"from_row", "from_step"} & c for c in columns)


def test_dram_curves_hold_all_bytes(page: Page, text: str, trace: Trace) -> None:
    curves = [(t, c["value"]) for t, c in columns_of(page, text) if t.get("kind") == "curve"]
    step_ns = trace.total_ticks / trace.tick_hz * 1e9 / 2000
    moved = sum(float(v.sum()) * t["scale"] * step_ns for t, v in curves if t["name"] == "DRAM")
    assert math.isclose(moved, float((trace.transfers["read"] + trace.transfers["written"]).sum()), rel_tol=1e-3)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=12))
def test_lanes_do_not_overlap(rows: list[tuple[int, int]]) -> None:
    intervals = sorted((a, a + n) for a, n in rows)
    start, end = np.array(intervals, np.int64).reshape(-1, 2).T
    lane = lanes(start, end)
    for k in set(lane.tolist()):
        mine = lane == k
        assert (start[mine][1:] >= end[mine][:-1]).all()


def test_an_empty_trace_has_a_report(tmp_path: Path) -> None:
    nothing = Trace(**{t: empty(t) for t in TABLES}, tick_hz=10**9, target="inf1.6xlarge", total_ticks=0,
                    neff_hashes=("a", "b"), dropped={"runs": 3}, notes=("3 runs were left out",))  # fmt: skip
    write(nothing, programs(), machine(), {}, tmp_path / "report.html")
    summary = Page((tmp_path / "report.html").read_text(encoding="utf-8")).json("summary")
    assert summary["notes"] == ["3 runs were left out"] and summary["dropped"] == {"runs": 3}


def test_a_report_is_whole_or_not_there(tmp_path: Path, trace: Trace) -> None:
    with pytest.raises(OSError):
        write(trace, programs(), machine(), {}, tmp_path / "absent" / "report.html")
    assert not list(tmp_path.iterdir())


# ---- one file, harmless
def test_nothing_of_the_model_becomes_markup(page: Page) -> None:
    names = ("html", "head", "meta", "title", "style", "body", "a", "header", "div", "h1", "p", "button", "nav", "main",
             "noscript", "code", "footer", "script")  # fmt: skip
    assert {tag for tag, _ in page.tags} == set(names)
    assert len(page.scripts) == 4
    texts = page.json("timeline-data")["labels"]["texts"]
    assert set(HOSTILE) <= set(texts)
    assert {row["name"] for row in page.json("summary")["summary"]["layers"]} <= set(HOSTILE)


def test_the_file_needs_no_other(page: Page, text: str) -> None:
    for tag, attributes in page.tags:
        assert not {"src", "srcset", "data"} & set(attributes), tag
        assert (attributes.get("href") or "#").startswith("#")
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert re.fullmatch(r"default-src 'none'; script-src 'sha256-\S+'; style-src 'sha256-\S+'", policy or "")
    scripts = page.scripts[-1] + text[text.index("<style>") : text.index("</style>")]
    ways_out = r"\bfetch\(|XMLHttpRequest|url\(|@import|https?://(?!www\.w3\.org/2000/svg)"
    ways_in = r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\("
    assert not re.search(f"{ways_out}|{ways_in}", scripts)


def test_the_same_trace_gives_the_same_bytes(text: str, trace: Trace, tmp_path: Path) -> None:
    write(trace, programs(), machine(), gather(trace, programs(), machine()), tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == text


@settings(max_examples=50)
@given(st.text(), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_json_cannot_end_its_element(name: str, number: float) -> None:
    found = json_text({name: [name, number, {"</script>": "<!--&"}]})
    assert not set("<>&") & set(found) and found.isascii()
    assert json.loads(found) == {name: [name, None, {"</script>": "<!--&"}]}


def test_scripts_are_short() -> None:
    folder = Path(str(write.__code__.co_filename)).parent / "assets"
    assert {f.stem for f in folder.glob("*.js")} == set(SCRIPTS)
    for file in folder.iterdir():
        assert len(file.read_text(encoding="utf-8").splitlines()) < 300, file.name


# ---- the page's own reading of it
DECODE = """
const texts = JSON.parse(require("fs").readFileSync(0, "utf8"));
const REQUEST_COLOURS = 12, $ = (id) => ({ textContent: texts[id] });
DATA
openTimeline().then(({ tracks, labels }) => {
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  console.log(JSON.stringify(tracks.filter((t) => t.lane).map((t) => [t.kind, t.lane.n, sum(t.lane.length),
    t.lane.n ? t.lane.start[t.lane.n - 1] : 0, t.waits ? sum(t.waits.length) : 0,
    t.lane.length[0] > 0 ? t.lane.at(t.lane.start[0]) : 0])));
});
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_the_page_reads_what_was_written(page: Page, text: str) -> None:
    source = Path(str(write.__code__.co_filename)).parent / "assets" / "data.js"
    block = re.search(r'id="columns">([A-Za-z0-9+/=]*)<', text)
    assert block
    given = json.dumps({"timeline-data": json.dumps(page.json("timeline-data")), "columns": block[1]})
    script = DECODE.replace("DATA", source.read_text(encoding="utf-8"))
    done = subprocess.run(["node", "-e", script], input=given, capture_output=True, text=True, check=True, timeout=60)
    expected = []
    for track, columns in columns_of(page, text):
        if "start" in columns:
            start = np.cumsum(columns["start"])
            waited = int(columns["waited"].sum()) if track["kind"] == "words" else 0
            expected.append([track["kind"], len(start), int(columns["length"].sum()), int(start[-1]), waited])
    assert [row[:5] for row in json.loads(done.stdout)] == expected
    assert all(row[5] >= 0 for row in json.loads(done.stdout))
