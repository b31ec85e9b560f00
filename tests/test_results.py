"""The one form of results: what is written is read back, as JSON and as CSV; anything else is refused in words."""

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from probes.probe_error import ProbeError
from probes.results import Map, Measure, Point, Projection, Results, Score, Table, read_results, write_results

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
SCORES = st.builds(
    Score,
    measure=st.just("accuracy"),
    model=st.text(),
    value=NUMBERS,
    low=NUMBERS,
    high=NUMBERS,
    n=st.integers(0, 10**9),
    layer=st.none() | st.integers(0, 99),
    group=st.none() | st.text(),
    variant=st.text(),
    role=st.sampled_from(["model", "baseline", "difference"]),
)


def results(scores: list[Score] = [], **more: object) -> Results:  # noqa: B006
    return Results.model_validate(
        {
            "probe": "trial",
            "question": "?",
            "answer": ["Yes."],
            "models": [],
            "measures": {"accuracy": Measure(title="Accuracy", unit="share")},
            "headlines": scores[:1],
            "scores": scores,
            **more,
        }
    )


@given(scores=st.lists(SCORES, max_size=5))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, scores: list[Score]) -> None:
    out = tmp_path_factory.mktemp("out")
    written = results(
        scores,
        tables=[Table(name="cells", title="Cells", columns=["a", "b"], rows=[['x\n,"', 1], [None, 0.25]])],
        maps=[
            Map(
                title="bank",
                model="m",
                points=[Point(text="a </script> bank", span=(12, 16), group="g")],
                layers={0: Projection(pca=[(0.0, 1.0, 2.0)])},
            )
        ],
    )
    assert read_results(write_results(written, out)) == written


def test_every_figure_and_every_table_is_a_csv_file_as_well(tmp_path: Path) -> None:
    scores = [
        Score(measure="accuracy", model="a, b", value=0.5, low=0.25, high=0.75, n=8, layer=2, group="bank\n"),
        Score(measure="accuracy", model="c", value=1.0, low=1.0, high=1.0, n=8, role="baseline"),
    ]
    table = Table(name="cells", title="Cells", columns=["a", "b"], rows=[['x,"y', 1], [None, 0.25]])
    write_results(results(scores, tables=[table]), tmp_path)
    with (tmp_path / "trial.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["a, b", "c"]
    assert rows[0]["group"] == "bank\n" and float(rows[0]["low"]) == 0.25 and rows[1]["layer"] == ""
    with (tmp_path / "trial.cells.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["a", "b"], ['x,"y', "1"], ["", "0.25"]]


def test_a_figure_that_is_no_number_is_never_written() -> None:
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(ValidationError):
            Score(measure="accuracy", model="m", value=wrong, low=0.0, high=1.0, n=1)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ("", "the file"),
        ("[1]", "the file"),
        ('{"probe": "senses"}', "question"),
        (json.dumps({**json.loads(results().model_dump_json()), "models": [{"name": 1}]}), "models.0.name"),
        (json.dumps({**json.loads(results().model_dump_json()), "scores": [{}]}), "scores.0.measure"),
    ],
)
def test_anything_else_is_refused_with_its_place(tmp_path: Path, content: str, got: str) -> None:
    path = tmp_path / "trial.json"
    path.write_text(content)
    with pytest.raises(ProbeError, match=rf"trial.json: {got}.*Expected the results of a probe.*Run the probe again"):
        read_results(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match=r"none\.json: No such file"):
        read_results(tmp_path / "none.json")
