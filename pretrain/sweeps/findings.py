"""What a sweep has found so far, worked out from the cells that are done, and written into its folder."""

import os
import platform
import shlex
from collections.abc import Sequence

from pretrain.sweeps.analysis.analyse import analyse, rows
from pretrain.sweeps.collecting import failure_of, outcome_of
from pretrain.sweeps.outcome import is_lower_better
from pretrain.sweeps.planning import SweepPlan
from pretrain.sweeps.report import write_report
from pretrain.sweeps.results import CellRow, Results
from pretrain.sweeps.running import Job, is_done, launcher
from probes.command import versions
from probes.results import write_csv, write_text

NOT_COMPARABLE = (
    "These figures cannot be compared: the settings differ in texts, tokenizer or max_seq_length, so each was scored "
    "on other rows. Choose a probe as the measure, or leave these axes out."
)


def write_findings(planned: SweepPlan, command: Sequence[str]) -> Results:
    """Write results.csv, results.json, the pictures and report.html.

    The same finished cells give the same files bit for bit, but for what a clock measured: hours, tokens a second and
    what is told of the machine.

    Args:
        command: the arguments of the sweep, for the record.
    """
    results = _found(planned)
    provenance = {
        "command": shlex.join(["python", "-m", "pretrain.sweep", *command]),
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "system": platform.system()},
        "versions": versions(),
    }
    if not planned.is_comparable and planned.measure.startswith("eval/"):
        results = results.model_copy(update={"answer": [NOT_COMPARABLE, *results.answer]})
    results = results.model_copy(update={"run_best": _run_best(planned, results), "provenance": provenance})
    folder = planned.folder.path
    write_text(folder / "results.json", results.model_dump_json(indent=1) + "\n")
    write_csv(folder / "results.csv", *rows(results))
    write_report(results, folder)
    return results


def _found(planned: SweepPlan) -> Results:
    sweep, folder = planned.sweep, planned.folder
    done, missing = [], []
    for cell in planned.cells:
        try:
            if is_done(Job.of(cell, sweep, folder)):
                done.append(outcome_of(cell, folder))
                continue
            failure = failure_of(cell, folder)
        except (OSError, ValueError, LookupError, TypeError) as error:
            failure = f"what it has left cannot be read ({error}); delete {folder.run(cell.name)} to run it again"
        missing.append(
            CellRow(
                cell=cell.name,
                setting=cell.setting.label,
                levels=dict(cell.setting.levels),
                seed=cell.seed,
                state="failed" if failure else "not run",
                error=failure,
            )
        )
    axes = {key: list(dict.fromkeys(setting.levels[key] for setting in planned.settings)) for key in sweep.axes}
    return analyse(
        done,
        name=sweep.name,
        match=sweep.match,
        amount=planned.amount,
        measure=planned.measure,
        reference=planned.reference.label,
        axes=axes,
        seeds=sweep.seeds,
        usual_spread=sweep.usual_spread,
        missing=missing,
    )


def _run_best(planned: SweepPlan, results: Results) -> str:
    """The command that trains the setting with the best mean, as its cell was; empty where none is done."""
    if not results.views:
        return ""
    means = {setting: one.value for setting, one in results.views[0].settings.items()}
    best = (min if is_lower_better(results.views[0].measure) else max)(means, key=lambda setting: means[setting])
    cell = next(cell for cell in planned.cells if cell.setting.label == best)
    options = [word for word in launcher(planned.sweep)[3:]]
    recipe, name = planned.folder.recipe(cell.name), f"{planned.sweep.name}_best"
    words = ["accelerate", "launch", *options, "-m", "pretrain", str(recipe), f"name={name}", "output_dir=null"]
    return shlex.join(words)
