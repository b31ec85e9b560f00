"""The page: whole, offline, escaped, and honest about what is missing."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from probes import senses
from probes.probe import ProbeError
from probes.report import Metrics, write_page, write_report
from tests.probe_models import save_model, table, write_table

EVIL = "<script>alert('x')</script>"


class Reader(HTMLParser):
    """Collects the tags with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def write_metrics(run: Path) -> None:
    lines = [
        {
            **{"step": step, "tokens": step * 1000, "elapsed_seconds": step * 2.0, "tokens_per_second": 500.0},
            **{"learning_rate": 0.001 / step, "grad_norm": 1.0, "loss/mlm_nats": 9 - step / 10, "accuracy/mlm": 0.1},
        }
        for step in range(1, 31)
    ]
    lines.append({"step": 30, "eval/mlm_nats": 6.125, "eval/accuracy/mlm": 0.25})
    (run / "metrics.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything: metrics, recipe, model and a probe of it, with markup where texts may stand."""
    folder = tmp_path_factory.mktemp("runs") / "run <b>&"
    folder.mkdir()
    write_metrics(folder)
    (folder / "recipe.yaml").write_text(f"name: {EVIL}\n", encoding="utf-8")
    rows = [(w, s, sense.replace("one", "<i>one")) for w, s, sense in table(2)]
    save_model(folder / "model")
    progress = folder / "checkpoints" / "step-00000030" / "progress.json"
    progress.parent.mkdir(parents=True)
    progress.write_text(json.dumps({"versions": {"torch": f"2{EVIL}"}}))
    senses.run([folder], sentences=write_table(folder / "t.tsv", rows))
    return folder


def test_the_page_asks_the_network_for_nothing(run: Path) -> None:
    page = write_report(run).read_text(encoding="utf-8")
    tags = Reader(page).tags
    assert not {tag for tag, _ in tags} & {"link", "script", "iframe", "object", "embed", "base", "form"}
    sources = [value or "" for _, attributes in tags for key, value in attributes.items() if key in ("src", "href")]
    # The accuracy and the loss, learning rate, two curves of the probe, two pictures for each of two words.
    assert len(sources) == 3 + 2 + 4
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    styles = page[page.index("<style>") : page.index("</style>")]
    assert not re.search(r"url\(|@import|https?:", styles)


def test_markup_in_names_and_texts_is_escaped(run: Path) -> None:
    reader = Reader(write_report(run).read_text(encoding="utf-8"))
    assert not {"b", "i", "script"} & {tag for tag, _ in reader.tags}
    assert EVIL in reader.text and "run <b>&" in reader.text


def test_the_page_says_what_was_found(run: Path) -> None:
    text = Reader(write_report(run).read_text(encoding="utf-8")).text
    results = json.loads((run / "probes" / "senses.json").read_text())
    for said in ("After 30 steps (30 thousand tokens, 60 seconds): held-out mlm loss 6.12 nats", "25.0 %"):
        assert said in text
    for finding in results["models"][0]["findings"]:
        assert finding in text
    for said in (results["command"], "random weights", "majority sense", "static vector", "chance", "n = 8 sentences"):
        assert said in text
    assert f"transformers {results['versions']['transformers']}" in text


def test_every_baseline_stands_in_every_row_of_the_table(run: Path) -> None:
    page = write_report(run).read_text(encoding="utf-8")
    first = re.search(r"<table>\s*<caption>All words.*?</table>", page, re.DOTALL)
    assert first is not None
    names = re.findall(r"<th[^>]*>([^<]*)</th>", first[0])
    assert names == [
        *("layer", "model", "random weights", "model - random weights"),
        *("static vector", "majority sense", "chance"),
    ]
    rows = re.findall(r"<tr[^>]*>((?:<td>[^<]*</td>)+)</tr>", first[0])
    assert len(rows) == 3
    for row in rows:
        cells = re.findall(r"<td>([^<]*)</td>", row)
        assert len(cells) == 7 and all(cells) and cells[4:] == ["33 %", "50 %", "50 %"]


def test_missing_parts_are_said(tmp_path: Path, run: Path) -> None:
    write_metrics(tmp_path)
    assert "No probe has been run" in write_report(tmp_path).read_text(encoding="utf-8")
    only_results = shutil.copytree(run / "probes", tmp_path / "results")
    next(only_results.glob("*similarity.png")).unlink()
    page = write_page([only_results], out=tmp_path / "page.html").read_text(encoding="utf-8")
    assert "There is no metrics.jsonl here" in page
    assert "is missing beside the results; run the probe again" in page


def test_a_line_that_was_cut_off_is_left_out_and_said(tmp_path: Path) -> None:
    write_metrics(tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 31, "lo')
    text = Reader(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert "1 line(s) are no JSON object and left out: 32" in text and "After 30 steps" in text


def test_an_empty_run_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("")
    assert "There is nothing to say yet" in write_report(tmp_path).read_text(encoding="utf-8")


def test_a_step_that_was_trained_twice_counts_the_later_time(tmp_path: Path) -> None:
    lines = [{"step": 1, "loss/mlm_nats": 9.0}, {"step": 2, "loss/mlm_nats": 8.0}, {"step": 2, "loss/mlm_nats": 7.0}]
    lines.append({"step": 3, "loss/mlm_nats": float("nan")})
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    curve = Metrics.read(tmp_path / "metrics.jsonl").curve("loss/mlm_nats")
    assert (list(curve.x), list(curve.y)) == ([1, 2], [9.0, 7.0])


def test_several_runs_stand_on_one_page(tmp_path: Path, run: Path) -> None:
    write_metrics(tmp_path)
    text = Reader(write_page([run, tmp_path], out=tmp_path / "both.html").read_text(encoding="utf-8")).text
    assert "2 runs side by side" in text and run.name in text and tmp_path.name in text


def test_folders_with_nothing_in_them_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match=r"none is not a folder\. Expected a run.*Check the path"):
        write_report(tmp_path / "none")
    with pytest.raises(
        ProbeError, match=r"holds neither metrics\.jsonl nor .* Expected a run.*python -m probes senses"
    ):
        write_report(tmp_path)


def test_results_that_are_damaged_are_refused(tmp_path: Path) -> None:
    (tmp_path / "senses.json").write_text("{")
    with pytest.raises(
        ProbeError, match=r"senses\.json is not JSON .*Expected a probe's results\. Run the probe again"
    ):
        write_report(tmp_path)
