"""Laws of the complaints: each in its own case, none while all is well, each told once until it comes again."""

import logging
from collections.abc import Mapping
from typing import Any, cast

import pytest

from objectives.objective import Objective
from objectives.vital_signs import complaints
from pretrain.health import Health
from tokenization.store import TokenSplit

UNIGRAM = 6.0
HEALTHY = {
    "loss/generator_nats": 4.0,
    "accuracy/generator": 0.3,
    "loss/discriminator_nats": 0.25,
    "accuracy/discriminator": 0.92,
    "precision/discriminator": 0.7,
    "recall/discriminator": 0.4,
    "auc/discriminator": 0.85,
    "replaced_ratio": 0.7,
}
CASES: dict[str, tuple[dict[str, float], str, str]] = {
    "dead generator": ({"loss/generator_nats": 5.97}, "5.97 nats", "optimizer.learning_rate"),
    "few replaced tokens": ({"replaced_ratio": 0.1}, "only 10.0%", "objective.generator_fraction"),
    "blind discriminator": ({"auc/discriminator": 0.5}, "AUC 0.50", "schedule.warmup_steps"),
    "all original": ({"recall/discriminator": 0.001}, "0.1% of the replaced", "objective.discriminator_weight"),
}
"""What a line of metrics is with each trouble, what is told of it, and a setting that may mend it."""


def test_nothing_is_wrong_with_a_healthy_line() -> None:
    assert complaints(HEALTHY, unigram_nats=UNIGRAM) == {}


@pytest.mark.parametrize("name", CASES)
def test_each_trouble_has_its_complaint_with_the_figure_and_a_setting_to_change(name: str) -> None:
    changed, figure, setting = CASES[name]
    found = complaints(HEALTHY | changed, unigram_nats=UNIGRAM)
    assert list(found) == [name]
    assert figure in found[name] and setting in found[name]


def test_a_discriminator_that_is_blind_is_not_blamed_for_calling_all_original_as_well() -> None:
    both = HEALTHY | CASES["blind discriminator"][0] | CASES["all original"][0]
    assert list(complaints(both, unigram_nats=UNIGRAM)) == ["blind discriminator"]


def test_troubles_that_come_together_are_all_told() -> None:
    changes = {key: value for name in CASES if name != "all original" for key, value in CASES[name][0].items()}
    assert set(complaints(HEALTHY | changes, unigram_nats=UNIGRAM)) == set(CASES) - {"all original"}


@pytest.mark.parametrize("absent", HEALTHY)
@pytest.mark.parametrize("as_none", [True, False])
def test_a_figure_that_is_missing_is_no_trouble(absent: str, as_none: bool) -> None:
    line: dict[str, float | None] = {key: value for key, value in HEALTHY.items() if as_none or key != absent}
    if as_none:
        line[absent] = None
    assert complaints(line, unigram_nats=UNIGRAM) == {}


def test_a_line_without_any_figure_is_no_trouble() -> None:
    assert complaints({"tokens": 10, "grad_norm": None}, unigram_nats=UNIGRAM) == {}


# When they are told --------------------------------------------------------------------------------------------------


class _Complaining:
    """Stands for an objective and a split: the line of metrics names its troubles."""

    def __init__(self) -> None:
        self.unigrams_asked = 0

    def complaints(self, figures: Mapping[str, Any], *, unigram_nats: float) -> dict[str, str]:
        assert unigram_nats == UNIGRAM
        return {name: f"{name} is bad" for name in figures}

    def unigram_nats(self) -> float:
        self.unigrams_asked += 1
        return UNIGRAM


@pytest.fixture
def stub() -> _Complaining:
    return _Complaining()


@pytest.fixture
def health(stub: _Complaining) -> Health:
    return Health(cast(Objective, stub), cast(TokenSplit, stub))


def _told(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    messages = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return messages


def test_a_trouble_is_told_once_and_again_when_it_comes_back(health: Health, caplog: pytest.LogCaptureFixture) -> None:
    health.check(10, 0.2, {"cough": 1})
    assert _told(caplog) == ["step 10  cough: cough is bad."]
    health.check(20, 0.3, {"cough": 1})
    assert _told(caplog) == []
    health.check(30, 0.4, {"cough": 1, "fever": 1})
    assert _told(caplog) == ["step 30  fever: fever is bad."]
    health.check(40, 0.5, {"fever": 1})
    assert _told(caplog) == []
    health.check(50, 0.6, {"cough": 1, "fever": 1})
    assert _told(caplog) == ["step 50  cough: cough is bad."]


def test_the_first_fifth_of_a_run_is_quiet_and_what_is_wrong_then_is_told_afterwards(
    health: Health, stub: _Complaining, caplog: pytest.LogCaptureFixture
) -> None:
    for step, share in enumerate((0.0, 0.1, 0.1999)):
        health.check(step, share, {"cough": 1})
    assert _told(caplog) == [] and stub.unigrams_asked == 0
    health.check(3, 0.2, {"cough": 1})
    assert _told(caplog) == ["step 3  cough: cough is bad."]


def test_the_entropy_of_the_corpus_is_counted_once(health: Health, stub: _Complaining) -> None:
    for step in range(3):
        health.check(step, 0.5, {})
    assert stub.unigrams_asked == 1
