"""Curves over layers and over a run's checkpoints: which points they have, in which order."""

import csv
from pathlib import Path

from probes.report.folder import Folder
from probes.report.layers import MOST_LINES, layer_parts, shown_models
from probes.report.trajectories import Trajectories, trajectories
from tests import probe_results as made


def of_run(run: Path) -> Trajectories:
    folder = Folder.read(run)
    found = trajectories(folder.findings[0].results, folder.snapshots["senses"])
    assert found is not None
    return found


def test_a_run_has_a_point_for_each_step_in_order_and_the_finished_model_last(tmp_path: Path) -> None:
    run = made.write_run(tmp_path / "run", steps=(1000, 20, 300))
    chart = of_run(run).charts[0]
    lines = {line.label: line for line in chart.lines}
    assert lines["the model, layer 6"].x == [20, 300, 1000]
    # As made: 0.04 more in the last layer, and 0.05 more with each step written.
    assert [round(y, 6) for y in lines["the model, layer 6"].y] == [59.0, 64.0, 54.0]
    final = lines["the model, layer 6, finished model"]
    assert final.is_apart and final.x[0] > 1000 and round(final.y[0], 6) == 74.0
    assert lines["static vector"].x == [20, 300, 1000] and "static vector, finished model" not in lines


def test_the_figures_over_the_steps_are_a_csv_as_well(tmp_path: Path) -> None:
    found = of_run(made.write_run(tmp_path / "run", steps=(10, 20)))
    found.write(tmp_path / "steps.csv")
    with (tmp_path / "steps.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["role"] == "model" and row["measure"] == "accuracy"]
    assert [row["step"] for row in rows] == ["10", "20", ""] and round(float(rows[0]["low"]), 9) == 0.49
    assert found.sheets[0].rows[-1][0] == "finished model"


def test_checkpoints_of_one_call_are_a_trajectory_for_each_run() -> None:
    names = ("one@20", "one@100", "one@3", "two@20", "two@100", "plain")
    found = trajectories(made.senses_like(names, words=("bank",), steps=(20, 100, 3, 20, 100, None)), {})
    assert found is not None
    chart = found.charts[0]
    lines = {line.label: line.x for line in chart.lines}
    assert lines["one, layer 6"] == [3, 20, 100] and lines["two, layer 6"] == [20, 100]
    assert lines["random weights of one, layer 6"] == [3, 20, 100]
    assert "static vector: 34.1 %" in [label for label, _ in chart.levels]
    assert any(label.startswith("plain, layer 6: ") for label, _ in chart.levels)


def test_models_without_steps_have_no_trajectory() -> None:
    assert trajectories(made.senses_like(("a", "b"), words=("bank",)), {}) is None


def test_a_run_that_goes_on_shows_its_newest_results(tmp_path: Path) -> None:
    run = made.write_run(tmp_path / "run", steps=(10, 9))
    for path in (run / "probes").glob("senses*"):
        path.unlink()
    finding = Folder.read(run).findings[0]
    assert finding.step == 10 and finding.path.parent.name == "step-00000010"


def test_a_measure_has_a_line_for_each_model_and_a_level_for_each_baseline_without_layers() -> None:
    results = made.senses_like(("a", "b"), words=("bank",), num_layers=3)
    part = layer_parts(results)[0]
    chart = part.charts[0]
    assert [line.label for line in chart.lines] == ["a", "random weights of a", "b", "random weights of b"]
    assert [line.x for line in chart.lines] == [[0, 1, 2, 3]] * 4
    assert [label for label, _ in chart.levels][:2] == ["static vector: 34.1 %", "majority sense: 50.0 %"]
    line = chart.lines[0]
    assert line.low is not None and line.high is not None
    assert all(low < y < high for low, y, high in zip(line.low, line.y, line.high, strict=True))
    # A model and its random weights share a colour and differ in the dash.
    assert chart.lines[0].colour == chart.lines[1].colour and chart.lines[0].dash != chart.lines[1].dash
    assert part.sheets[0].columns[0] == "layer" and [row[0] for row in part.sheets[0].rows] == ["0", "1", "2", "3"]


def test_a_chart_is_never_crowded() -> None:
    results = made.senses_like(("a", "b", "c"), words=("bank",))
    shots = [
        score.model_copy(update={"variant": variant, "measure": "shots"})
        for variant in ("1 shot", "3 shots", "10 shots")
        for score in results.scores
        if score.measure == "accuracy" and score.group is None and score.role == "model"
    ]
    part = layer_parts(results.model_copy(update={"scores": shots}))[0]
    assert [len(chart.lines) for chart in part.charts] == [3, 3, 3] and MOST_LINES < 9
    assert len({chart.file for chart in part.charts}) == 3


def test_of_many_checkpoints_a_few_from_first_to_last_are_drawn_and_all_are_in_the_table() -> None:
    steps = tuple(range(10, 210, 10))
    results = made.senses_like(tuple(f"run@{step}" for step in steps), words=("bank",), steps=steps)
    assert shown_models(results) == ["run@10", "run@70", "run@140", "run@200"]
    part = layer_parts(results)[1]
    assert [line.label for line in part.charts[0].lines] == shown_models(results)
    assert len(part.sheets[0].columns) == 1 + len(steps)


def test_a_measure_of_one_group_only_is_drawn_like_one_of_all() -> None:
    results = made.senses_like(("a",), words=("bank",))
    grouped = [score.model_copy(update={"group": "bank"}) for score in results.scores if score.measure == "margin"]
    part = layer_parts(results.model_copy(update={"scores": grouped}))[0]
    assert len(part.charts) == 1 and not part.by_group and part.sheets[0].columns == ["layer", "a, bank"]
