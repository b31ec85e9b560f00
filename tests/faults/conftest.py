"""What the faults share: the runs that nothing happened to, the objectives asked for, and the record of all tries."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from objectives import OBJECTIVES
from tests.faults.runs import Whole
from tests.faults.wholes import small_recipe, whole_run

Wholes = Callable[..., Whole]
Tried = Callable[..., dict[str, Any]]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--objective", choices=list(OBJECTIVES), help="hurt the runs of this objective only")
    group.addoption("--record", type=Path, metavar="FOLDER", help="write what was tried to faults.json and faults.md")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "objective" in metafunc.fixturenames:
        asked = metafunc.config.getoption("--objective", default=None)
        metafunc.parametrize("objective", [asked] if asked else list(OBJECTIVES), scope="session")


@pytest.fixture(scope="session")
def wholes(tmp_path_factory: pytest.TempPathFactory, tiny_text: Callable[[Path], str]) -> Wholes:
    """The uninterrupted run by objective, overrides and number of processes, made when it is first asked for."""
    made: dict[tuple[Any, ...], Whole] = {}

    def whole(objective: str, *more: str, processes: int = 1) -> Whole:
        key = (objective, *more, processes)
        if key not in made:
            folder = tmp_path_factory.mktemp(f"{objective}-{processes}")
            made[key] = whole_run(small_recipe(folder, tiny_text, objective, *more), processes=processes)
        return made[key]

    return whole


# What was tried ------------------------------------------------------------------------------------------------------


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> Tried:
    """Record a try: the fault, and what is added to the mapping that comes back, whether the try passes or fails."""

    def record(fault: str, **what: Any) -> dict[str, Any]:
        entry = {"fault": fault, **what}
        request.node.user_properties.append(("tried", entry))
        return entry

    return record


@pytest.hookimpl
def pytest_configure(config: pytest.Config) -> None:
    if (folder := config.getoption("--record", default=None)) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Record(folder), "record of the faults")


class Record:
    """Collects the tries of all workers."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tries, self.began = folder, [], time.monotonic()

    tries: list[dict[str, Any]]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and not (report.when == "setup" and report.outcome != "passed"):
            return
        tried = [value for name, value in report.user_properties if name == "tried"] or [{"fault": "-"}]
        entry = {"test": report.nodeid.split("/")[-1], "outcome": report.outcome, "seconds": round(report.duration, 1)}
        if report.failed:
            entry["failure"] = report.longreprtext[-4000:]
        self.tries += [{**entry, **what} for what in tried]
        self.write()  # at once, so that a session which is cut off has told what it knew

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {"minutes": round((time.monotonic() - self.began) / 60, 1), "tries": self.tries}
        (self.folder / "faults.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        (self.folder / "faults.md").write_text("\n".join(self.lines()) + "\n", encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("what was tried")
        for line in self.lines():
            terminalreporter.write_line(line)

    def lines(self) -> Iterator[str]:
        """A Markdown table: a row for each objective, fault and phase."""
        kinds: dict[tuple[str, ...], Counter[str]] = {}
        for entry in self.tries:
            kind = tuple(str(entry.get(name, "")) for name in ("objective", "fault", "phase"))
            outcome = {"": "passed"}.get(entry["problem"], "failed") if "problem" in entry else entry["outcome"]
            kinds.setdefault(kind, Counter())[outcome] += 1
        yield "| objective | fault | where | tries | as promised | failed | left out |"
        yield "| --- | --- | --- | --- | --- | --- | --- |"
        for kind, outcomes in sorted(kinds.items()):
            counts = (outcomes.total(), outcomes["passed"], outcomes["failed"], outcomes["skipped"])
            yield f"| {' | '.join(kind)} | {' | '.join(str(count) for count in counts)} |"
