"""Carrying out a command: common options reach the probe, results are written with the command that repeats them."""

import shlex
from argparse import ArgumentParser
from pathlib import Path

import pytest

from probes.command import conduct, parser_of
from probes.probe import Inquiry, Probe
from probes.probe_error import ProbeError
from probes.results import read_results
from tests.test_results import results

asked: list[tuple[Inquiry, dict[str, object]]] = []


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--word", default="bank")


def _examine(inquiry: Inquiry, **options: object):
    asked.append((inquiry, options))
    return results()


TRIAL = Probe("tries it", _arguments, _examine)
MAKER = Probe("tries it without a model", _arguments, _examine, num_models="*")


def test_common_options_reach_the_probe_and_its_own_stay_its_own(tmp_path: Path) -> None:
    arguments = [
        *("a", "b/c", "--out", str(tmp_path / "deep" / "out"), "--layers", "4,0,4", "--seed", "7"),
        *("--pieces", "first", "--precision", "float32", "--no-pictures", "--word", "bat"),
    ]
    conduct("trial", TRIAL, arguments)
    inquiry, options = asked[-1]
    assert [model.name for model in inquiry.models] == ["a", "c"] and options == {"word": "bat"}
    assert (inquiry.layers, inquiry.seed, inquiry.with_pictures) == ((0, 4), 7, False)
    assert {(model.pieces, model.precision) for model in inquiry.models} == {("first", "float32")}
    assert inquiry.out == tmp_path / "deep" / "out" and inquiry.out.is_dir()


@pytest.mark.parametrize(
    ("given", "expected"), [([], (None, False)), (["--layers", "all"], (None, True)), (["--layers", "1"], ((1,), True))]
)
def test_all_layers_are_told_from_none_named(tmp_path: Path, given: list[str], expected: tuple[object, bool]) -> None:
    conduct("trial", TRIAL, ["a", "--out", str(tmp_path), *given])
    assert (asked[-1][0].layers, asked[-1][0].names_layers) == expected


def test_results_carry_the_command_that_repeats_them(tmp_path: Path) -> None:
    arguments = ["a model", "--out", str(tmp_path), "--word", "it's"]
    done = conduct("trial", TRIAL, arguments)
    assert read_results(done.path) == done.results
    assert shlex.split(done.results.command) == ["python", "-m", "probes", "trial", *arguments]
    assert done.results.seconds >= 0 and done.results.versions["torch"].startswith("2.")
    assert done.path == tmp_path / "trial.json"


def test_only_a_probe_that_makes_its_own_models_takes_none(tmp_path: Path) -> None:
    assert conduct("maker", MAKER, ["--out", str(tmp_path)]).path.is_file()
    with pytest.raises(ProbeError, match="required: MODEL"):
        conduct("trial", TRIAL, ["--out", str(tmp_path)])


@pytest.mark.parametrize("wrong", [["--layers", "two"], ["--lay", "1"], ["--seed", "x"], ["--pieces", "last"]])
def test_arguments_that_are_none_are_refused(wrong: list[str]) -> None:
    with pytest.raises(ProbeError, match=r"python -m probes trial: .*Expected what .* --help lists"):
        parser_of("trial", TRIAL).parse_args(["model", *wrong])


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    before = len(asked)
    with pytest.raises(ProbeError, match=r"cannot write there.*name another"):
        conduct("trial", TRIAL, ["a", "--out", str(tmp_path / "file" / "x")])
    assert len(asked) == before


@pytest.mark.parametrize("seed", ["-1", str(2**32), "1.5", "x"])
def test_a_seed_that_some_library_would_refuse_is_refused_at_once(seed: str) -> None:
    with pytest.raises(ProbeError, match=f"got '{seed}', expected a whole number from 0 to 4294967295"):
        parser_of("trial", TRIAL).parse_args(["model", "--seed", seed])


def test_a_disk_that_fills_up_is_said_and_leaves_no_empty_folder(tmp_path: Path) -> None:
    def full(inquiry: Inquiry, **options: object):
        raise OSError(28, "No space left on device")

    with pytest.raises(ProbeError, match=r"cannot write there \(No space left on device\).*Make room"):
        conduct("trial", Probe("fills it", _arguments, full), ["a", "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_probe_that_is_refused_leaves_what_was_there(tmp_path: Path) -> None:
    def wrong(inquiry: Inquiry, **options: object):
        raise ProbeError("no")

    out = tmp_path / "out"
    conduct("trial", TRIAL, ["a", "--out", str(out)])
    before = {path: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(ProbeError, match="no"):
        conduct("trial", Probe("is refused", _arguments, wrong), ["a", "--out", str(out)])
    assert {path: path.read_bytes() for path in out.iterdir()} == before
