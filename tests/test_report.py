"""The page: whole, offline, escaped, and honest about what is missing."""

import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from probes.cells import parts
from probes.probe_error import ProbeError
from probes.report import Metrics, write_page, write_report
from probes.report.chart import Chart
from probes.report.rendering import HOME
from probes.results import Picture, Point, read_results
from tests import probe_results as made

EVIL = "</script><script>alert('x')</script>"


class Reader(HTMLParser):
    """Collects the tags with their attributes, the text outside scripts, and the data."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.data = "", ""
        self._within = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._within = "data" if ("id", "data") in attrs else tag

    def handle_endtag(self, tag: str) -> None:
        self._within = "" if tag in ("script", "style") else self._within

    def handle_data(self, data: str) -> None:
        if self._within == "data":
            self.data += data
        elif not self._within:
            # A size never stands apart from its "n =".
            self.text += data.replace("\xa0", " ")


@pytest.fixture(autouse=True)
def _no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """PNGs take a third of a second each; the test that is about them draws its own."""
    monkeypatch.setattr("probes.report.chart.draw_curves", lambda target, *_, **__: target.write_bytes(made.PIXEL))


def read(path: Path) -> Reader:
    return Reader(path.read_text(encoding="utf-8"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with everything, with markup where texts may stand."""
    run = made.write_run(tmp_path / "run <b>&")
    (run / "recipe.yaml").write_text(f"name: {EVIL}\n", encoding="utf-8")
    progress = run / "checkpoints" / "step-00000030" / "progress.json"
    progress.parent.mkdir(parents=True)
    progress.write_text(json.dumps({"versions": {"torch": f"2{EVIL}"}}))
    return run


def test_the_page_asks_the_network_for_nothing(run: Path) -> None:
    reader = read(write_report(run))
    assert not {tag for tag, _ in reader.tags} & {"link", "iframe", "object", "embed", "base", "form", "video", "audio"}
    for tag, attributes in reader.tags:
        for key in ("src", "href", "srcset", "action", "data", "poster", "style"):
            value = attributes.get(key)
            assert value is None or value.startswith(("data:image/png;base64,", "#")), (tag, key)
    assert [a for tag, a in reader.tags if tag == "img"], "the run has pictures"
    own = "".join(
        file.read_text(encoding="utf-8") for file in HOME.iterdir() if file.suffix in (".html", ".css", ".js")
    )
    assert not re.search(r"https?:|url\(|@import|fetch\(|XMLHttp|import\(|sendBeacon|WebSocket|EventSource", own)


def test_plotly_offers_to_send_nothing() -> None:
    script = (HOME / "page.js").read_text(encoding="utf-8")
    assert "showSendToCloud: false" in script and 'plotlyServerURL: ""' in script and "displaylogo: false" in script


def test_plotly_comes_once_and_only_where_something_is_drawn(tmp_path: Path) -> None:
    made.write(made.minimal_pairs_like(), tmp_path / "flat")
    made.write(made.senses_like(("a",)), tmp_path / "deep")
    flat, deep = write_page([tmp_path / "flat"]), write_page([tmp_path / "deep"])
    assert flat.stat().st_size < 200_000 < 4_000_000 < deep.stat().st_size < 7_000_000
    assert not [tag for tag, _ in read(flat).tags if tag == "script"]


def test_markup_in_names_and_texts_is_escaped(run: Path) -> None:
    results = made.senses_like((f"mini{EVIL}",), words=("bank",), num_points=3)
    evil = results.model_copy(
        update={
            **{"answer": [EVIL], "question": EVIL, "notes": [EVIL], "command": EVIL, "versions": {EVIL: EVIL}},
            **{"data": {EVIL: {EVIL: [EVIL]}}, "settings": {EVIL: EVIL}},
            "pictures": [Picture(file=f"{EVIL}.png", caption=EVIL, kind="bars", group=EVIL)],
            "maps": [
                one.model_copy(update={"title": EVIL, "points": [Point(text=EVIL, group=EVIL, label=EVIL)] * 3})
                for one in results.maps
            ],
        }
    )
    made.write(evil, run / "probes", with_pictures=False)
    page = write_report(run)
    reader = read(page)
    plain = made.write_run(run.parent / "plain")
    assert [tag for tag, _ in reader.tags if tag == "script"] == ["script"] * 3
    assert not {"b", "i", "mark"} & {tag for tag, _ in read(write_report(plain)).tags} - {"b"}
    assert EVIL in reader.text and "run <b>&" in reader.text
    assert page.read_text(encoding="utf-8").lower().count("</script") == 3
    data = json.loads(reader.data)
    assert data["maps"]["s0-0"]["points"][0]["rows"][0][0] == EVIL
    assert any(EVIL in line["n"] for chart in data["charts"].values() for line in chart["lines"])


def test_every_headline_figure_stands_in_the_page(tmp_path: Path) -> None:
    for results in (made.senses_like(), made.classify_like(), made.minimal_pairs_like()):
        made.write(results, tmp_path / results.probe)
        text = read(write_page([tmp_path / results.probe])).text
        for score in results.headlines:
            for part in parts(score, results.measures[score.measure]):
                assert part in text
            assert score.model in text and f"n = {score.n:,}" in text
        for line in results.answer:
            assert line in text


def test_every_other_figure_stands_in_it_too(tmp_path: Path) -> None:
    for results in (made.senses_like(), made.minimal_pairs_like()):
        made.write(results, tmp_path / results.probe)
        text = read(write_page([tmp_path / results.probe])).text
        for score in results.scores:
            assert " ".join(parts(score, results.measures[score.measure])).strip() in text
            assert score.group is None or score.group in text


def test_the_page_says_how_it_was_made(run: Path) -> None:
    text = read(write_report(run)).text
    results = read_results(run / "probes" / "senses.json")
    for said in (results.command, "12.5 seconds", "python 3.11, torch 2.13.0.", "ab" * 32, "senses.neighbours.csv"):
        assert said in text
    for note in results.notes:
        assert note in text
    assert "After 30 steps (30 thousand tokens, 60 seconds): held-out mlm loss 6.12 nats" in text and "25.0 %" in text


def test_a_difference_has_a_plain_verdict(tmp_path: Path) -> None:
    made.write(made.senses_like(), tmp_path)
    text = read(write_page([tmp_path])).text
    assert "+3.0 points [-1.0, +7.0]: no clear difference" in text and "+6.0 points [+2.0, +10.0]: better" in text


def test_maps_of_one_word_share_their_points_and_keep_the_proportions(tmp_path: Path) -> None:
    results = made.senses_like(("a", "b"), words=("bank", "bass"), num_points=9)
    made.write(results, tmp_path)
    maps = json.loads(read(write_page([tmp_path])).data)["maps"]["s0-0"]
    assert [one["title"] for one in maps["maps"]] == ["bank", "bass"] and len(maps["points"]) == 2
    assert [panel["model"] for panel in maps["maps"][0]["panels"]] == ["a", "b"]
    true = [value for row in results.maps[0].layers[3].pca for value in row]
    shown = maps["maps"][0]["panels"][0]["layers"]["3"]["pca"]
    most = max(map(abs, true))
    assert shown == [round(value / most * 2000) for value in true]
    assert maps["points"][0]["rows"][4][:3] == [results.maps[0].points[4].text, 20, 24]


def test_missing_and_foreign_pictures_never_come_into_the_page(tmp_path: Path) -> None:
    home = tmp_path / "results"
    names = ["gone.png", "../outside.png", "link.png", "text.png", "here.png", "..", ""]
    pictures = [Picture(file=name, caption=f"[{name}]", kind="bars") for name in names]
    made.write(made.classify_like().model_copy(update={"pictures": pictures}), home, with_pictures=False)
    (tmp_path / "outside.png").write_bytes(made.PIXEL)
    (home / "link.png").symlink_to(tmp_path / "outside.png")
    (home / "text.png").write_text("secret")
    (home / "here.png").write_bytes(made.PIXEL)
    reader = read(write_page([home]))
    assert [attributes["alt"] for tag, attributes in reader.tags if tag == "img"] == ["[here.png]"]
    assert reader.text.count("is missing beside the results; run the probe again") == len(names) - 1


def test_missing_parts_are_said(tmp_path: Path, run: Path) -> None:
    made.write_metrics(tmp_path)
    assert "No probe has been run" in read(write_report(tmp_path)).text
    only_results = shutil.copytree(run / "probes", tmp_path / "results")
    said = "There is no metrics.jsonl here"
    assert said not in read(write_page([only_results], out=tmp_path / "page.html")).text
    (only_results / "recipe.yaml").write_text("seed: 0")
    assert said in read(write_page([only_results], out=tmp_path / "page.html")).text


def test_json_that_holds_no_results_is_left_out_and_said(run: Path) -> None:
    (run / "probes" / "cut.json").write_text('{"probe": "sen')
    (run / "probes" / "other.json").write_text("[1]")
    (run / "probes" / "step-00000020" / "senses.json").write_bytes(b"\xff\xfe")
    text = read(write_report(run)).text
    for name in ("cut.json", "other.json", "step-00000020/senses.json"):
        assert re.search(rf"Left out: \S*.*{re.escape(name)}: .* Run the probe again", text)
    assert "Do vectors of a word" in text


def test_folders_with_nothing_to_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match=r"none is not a folder\. Expected a run.*Check the path"):
        write_report(tmp_path / "none")
    with pytest.raises(ProbeError, match=r"holds neither metrics\.jsonl nor .* Expected a run.*python -m probes sens"):
        write_report(tmp_path)
    (tmp_path / "senses.json").write_text("{")
    with pytest.raises(ProbeError, match=r"holds neither .*senses\.json: the file: Invalid JSON"):
        write_report(tmp_path)


def test_several_folders_have_a_joint_table_with_its_cautions(tmp_path: Path) -> None:
    one = made.senses_like(("a",), words=("bank",))
    for name, sha256 in (("first", "11"), ("second", "22")):
        made.write(one.model_copy(update={"data": {"sha256": sha256}}), tmp_path / name)
    made.write(made.classify_like(), tmp_path / "second")
    text = read(write_page([tmp_path / "first", tmp_path / "second"], out=tmp_path / "both.html")).text
    assert "2 side by side" in text and "senses: 2 folders in one table" in text and "classify: 2" not in text
    assert "first: a, layer 6" in text and "second: a, layer 6" in text
    assert "different data, so their figures do not compare" in text


def test_the_same_page_is_written_twice(run: Path) -> None:
    first = write_report(run).read_bytes()
    files = {path: path.stat().st_mtime_ns for path in run.rglob("*.png")}
    assert write_report(run).read_bytes() == first
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*.png")} == files, "no chart is drawn anew"


def test_every_chart_lies_as_a_png_beside_the_results(run: Path) -> None:
    charts = json.loads(read(write_report(run)).data)["charts"]
    names = {key.split("/")[1] for key in charts}
    assert {"report-loss.png", "senses.accuracy.png", "report-senses.accuracy-by-step.png"} <= names
    assert {path.name for path in (run / "probes").glob("*.png")} >= names


def test_a_chart_is_drawn_again_when_its_source_is_newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    source = tmp_path / "senses.json"
    line = made.senses_like(("a",), words=("bank",))
    made.write(line, tmp_path)
    write_page([tmp_path])
    target = tmp_path / "senses.margin.png"
    assert target.read_bytes().startswith(made.PIXEL[:8]) and target.stat().st_size > 5000
    target.write_bytes(b"old")
    chart = Chart("senses.margin.png", "t", "x", "y", [])
    chart.draw(tmp_path, [source])
    assert target.read_bytes() == b"old"
    later = target.stat().st_mtime_ns + 1_000_000
    os.utime(source, ns=(later, later))
    chart.draw(tmp_path, [source])
    assert target.read_bytes() != b"old"


def test_a_probes_own_picture_is_kept(tmp_path: Path) -> None:
    results = made.senses_like(("a",), words=("bank",))
    own = Picture(file="senses.accuracy.png", caption="mine", kind="curve")
    made.write(results.model_copy(update={"pictures": [own]}), tmp_path)
    (tmp_path / "senses.accuracy.png").write_bytes(made.PIXEL + b"mine")
    page = write_page([tmp_path])
    (tmp_path / "senses.json").touch()
    write_page([tmp_path])
    assert (tmp_path / "senses.accuracy.png").read_bytes().endswith(b"mine")
    assert not [tag for tag, _ in read(page).tags if tag == "img"], "the chart shows it already"


def test_a_folder_that_cannot_be_written_still_has_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("probes.report.chart.draw_curves", refuse)
    made.write(made.senses_like(("a",), words=("bank",)), tmp_path / "results")
    text = read(write_page([tmp_path / "results"], out=tmp_path / "page.html")).text
    assert "PNGs cannot be written (Permission denied)" in text


def test_long_tables_are_folded_and_cut_with_their_csv_named(tmp_path: Path) -> None:
    results = made.classify_like()
    table = results.tables[0].model_copy(update={"rows": [[f"row {number}", 1, 0.5] for number in range(1000)]})
    made.write(results.model_copy(update={"tables": [table]}), tmp_path)
    text = read(write_page([tmp_path])).text
    assert "388 more rows; another 600 are in classify.confusion.csv" in text
    assert "row 399" in text and "row 400" not in text


def test_an_empty_run_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("")
    assert "There is nothing to say yet" in read(write_report(tmp_path)).text


def test_a_line_that_was_cut_off_is_left_out_and_said(tmp_path: Path) -> None:
    made.write_metrics(tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 31, "lo')
    text = read(write_report(tmp_path)).text
    assert "1 line(s) are no JSON object and left out: 32" in text and "After 30 steps" in text


def test_a_step_that_was_trained_twice_counts_the_later_time(tmp_path: Path) -> None:
    lines = [{"step": 1, "loss/mlm_nats": 9.0}, {"step": 2, "loss/mlm_nats": 8.0}, {"step": 2, "loss/mlm_nats": 7.0}]
    lines.append({"step": 3, "loss/mlm_nats": float("nan")})
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    curve = Metrics.read(tmp_path / "metrics.jsonl").curve("loss/mlm_nats")
    assert (list(curve.x), list(curve.y)) == ([1, 2], [9.0, 7.0])


def test_all_that_a_run_measures_is_a_curve_and_null_is_no_point(tmp_path: Path) -> None:
    keys = ["auc/discriminator", "eval/auc/discriminator", "replaced_ratio", "probe/senses/accuracy[layer 6]"]
    lines = [{"step": step, **{key: None if step == 2 else step / 10 for key in keys}} for step in (1, 2, 3)]
    lines.append({"step": "broken", "eval/auc/discriminator": 0.5})
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    charts = json.loads(read(write_report(tmp_path)).data)["charts"]
    found = {line["n"]: (line["x"], line["y"]) for chart in charts.values() for line in chart["lines"]}
    names = ["training, auc, discriminator", "held-out, auc, discriminator", "training", keys[-1]]
    assert found == {name: ([1, 3], [0.1, 0.3]) for name in names}


def test_a_run_that_is_still_locked_is_shown_without_a_word_on_its_lock(tmp_path: Path) -> None:
    run = made.write_run(tmp_path / "run")
    (run / ".lock.json").write_text('{"pid": 1}')
    assert "lock.json" not in write_report(run).read_text(encoding="utf-8")
