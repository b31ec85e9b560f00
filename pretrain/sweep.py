"""python -m pretrain.sweep SWEEP.yaml [section.key=value ...] [--dry-run] [--only FILTER] [--jobs N] [--out DIR]

One file, many runs, an answer with error bars. The same command goes on where it was cut off.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from pretrain.checkpoints.lock import RunLock
from pretrain.commands import guarded, option
from pretrain.distributed.signals import Interrupted, Signals
from pretrain.recipe import RecipeError
from pretrain.sweeps.calibration import pace_of
from pretrain.sweeps.cells import Cell, chosen
from pretrain.sweeps.executors import Executor, Ray, Slurm, Workers
from pretrain.sweeps.findings import write_findings
from pretrain.sweeps.folder import SweepFolder
from pretrain.sweeps.forecast import forecasts, lines
from pretrain.sweeps.planning import SweepPlan, plan
from pretrain.sweeps.running import Job, is_done, launcher
from pretrain.sweeps.settings import read_sweep
from probes.results import write_text

FAILED = 1
"""Exit status where cells have failed and the others are done."""

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sweep; gives the exit status: as every command's, and 1 where a cell has failed."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_intermixed_args(words)
    failed: list[str] = []
    status = guarded(lambda signals: failed.extend(_sweep(options, words, signals)))
    return status or (FAILED if failed else 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pretrain.sweep", description="Many runs of one recipe, compared.")
    parser.add_argument("sweep", type=Path, help="a YAML file, see recipes/sweeps/")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="section.key=value of the base recipe, sweep.key=value"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the cells, what each costs and the whole time")
    parser.add_argument(
        "--only", action="append", default=[], metavar="KEY=VALUE[,...]", help="run the cells with these values alone"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="cells at a time, each on its share of cores")
    parser.add_argument("--report-only", action="store_true", help="of the cells that are done, without running any")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the sweep's folder [sweeps/<name>]")
    parser.add_argument("--executor", choices=("slurm", "ray"), help="run the cells on a cluster")
    parser.add_argument(
        "--option", action="append", default=[], metavar="key=value", help="of the executor: slurm_partition=gpu"
    )
    return parser


def _sweep(options: argparse.Namespace, words: Sequence[str], signals: Signals) -> list[str]:
    """Do what is asked for; gives the names of the cells that failed."""
    logging.getLogger("objectives").setLevel(logging.WARNING)  # each run tells of its own rows
    sweep = read_sweep(options.sweep, options.overrides)
    folder = SweepFolder(options.out or Path("sweeps") / sweep.name)
    planned = plan(sweep, folder, lambda recipe: pace_of(recipe, launcher(sweep)).seconds_per_step)
    cells = chosen(planned.cells, options.only)
    if options.dry_run:
        print("\n".join(lines(planned, cells, forecasts(planned, options.jobs), options.jobs)))
        return []
    if options.report_only and not folder.record.exists():
        raise RecipeError(f"--report-only got {folder.path}, which holds no sweep yet, expected one; run it first.")
    executor = _executor(options, folder)
    failed: list[str] = []
    if not options.report_only:
        with RunLock(folder.path):
            folder.write(sweep, planned.base, planned.amount, planned.cells, planned.stores)
            failed = _run(planned, cells, executor, signals)
    if signals.received:
        raise Interrupted(signals.received, "what the cells had done is saved, and --report-only tells of it")
    print("\n".join(write_findings(planned, words).answer))
    logger.info("report: %s", folder.path / "report.html")
    return failed


def _run(planned: SweepPlan, cells: Sequence[Cell], executor: Executor, signals: Signals) -> list[str]:
    """Run those of the cells that are not done; gives the names of those that failed."""
    folder = planned.folder
    jobs = [Job.of(cell, planned.sweep, folder) for cell in cells]
    missing = [job for job in jobs if not is_done(job)]
    logger.info("%d cells, %d of them to be run", len(jobs), len(missing))
    failed = []
    signals.deferred = True
    for number, (job, failure) in enumerate(executor.run(missing, lambda: bool(signals.received)), 1):
        folder.failed(job.name).unlink(missing_ok=True)
        if failure:
            failed.append(job.name)
            write_text(folder.failed(job.name), failure + "\n")
            logger.warning("%d of %d  %s failed, the others go on:\n%s", number, len(missing), job.name, failure)
        else:
            logger.info("%d of %d  %s is done", number, len(missing), job.name)
    return failed


def _executor(options: argparse.Namespace, folder: SweepFolder) -> Executor:
    """
    Raises:
        RecipeError: the options do not fit each other, or the engine is not installed.
    """
    if options.option and options.executor is None:
        raise RecipeError("got --option without --executor, expected --executor slurm or ray.")
    given = dict(map(option, options.option))
    match options.executor:
        case "slurm":
            return Slurm(folder.path / "submitit", given)
        case "ray":
            return Ray(given)
        case _:
            return Workers(options.jobs)


if __name__ == "__main__":
    sys.exit(main())
