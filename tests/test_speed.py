"""Speed: the table is made of what was timed, in turns, and medians have the intervals that they say."""

from pathlib import Path

import numpy as np
import pytest

from probes.embedders import Embedder
from probes.models import models_of
from probes.probe import Inquiry
from probes.probe_error import ProbeError
from probes.results import Results
from probes.speed import count_flops, examine, loop_of_single_calls, read_sentences, spread_of, take_turns
from tests.probe_models import save_model

TEXTS = ["the bank is here", "so the bat is n1", "two banks so so so"]


class Clock:
    """Every reading is further than the last by the next of some steps, over and over."""

    def __init__(self, steps: list[float]) -> None:
        self.steps, self.now, self.read = steps, 0.0, 0

    def __call__(self) -> float:
        self.now += self.steps[self.read % len(self.steps)]
        self.read += 1
        return self.now


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "bert")


def ask(tmp_path: Path, models: list[str], clock: Clock, **options: int | None) -> Results:
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    inquiry = Inquiry(models_of(models, precision="float32"), tmp_path)
    settings = {"most": 100, "batch_size": None, "rounds": 3, **options}
    return examine(inquiry, sentences=file, clock=clock, **settings)


def test_ways_take_turns_and_the_first_round_is_left_out() -> None:
    done: list[str] = []
    # Between a way's two readings pass 5 and 7 seconds in the first round, then 1 and 2.
    steps = [0, 5, 0, 7, 0, 1, 0, 2, 0, 1, 0, 2]
    found = take_turns({"a": lambda: done.append("a"), "b": lambda: done.append("b")}, rounds=2, clock=Clock(steps))
    assert done == ["a", "b"] * 3
    assert {name: list(seconds) for name, seconds in found.items()} == {"a": [1, 1], "b": [2, 2]}


def test_figures_are_what_the_clock_said(tmp_path: Path, bert: Path) -> None:
    # Batched 0.5 s, one by one 1.5 s, the loop 2 s, in every round.
    found = ask(tmp_path, [str(bert)], Clock([0, 0.5, 0, 1.5, 0, 2.0]))
    values = {score.measure: score for score in found.headlines}
    tokens = sum(len(one.offsets) for one in Embedder.from_folder(bert).network.encode(TEXTS))
    assert values["sentences_per_second"].value == pytest.approx(3 / 0.5)
    assert values["tokens_per_second"].value == pytest.approx(tokens / 0.5)
    assert values["latency"].value == pytest.approx(0.5)
    assert values["speedup"].value == pytest.approx(4)
    assert values["speedup"].n == 3
    assert values["parameters"].value == found.models[0].num_parameters
    (row,) = found.tables[0].rows
    assert row[:2] == ["bert", "float32"] and row[2] == 6 and row[6] == 500


def test_models_are_compared_round_by_round(tmp_path: Path, bert: Path) -> None:
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("4 2\nthe 1.0 2.0\nbank 1.0 0.5\nbanks 2.0 0.5\nbat 0.1 0.1\n")
    # The encoder's three ways take 1 s each, the word vectors' two 0.25 s.
    found = ask(tmp_path, [str(bert), str(vectors)], Clock([0, 1, 0, 1, 0, 1, 0, 0.25, 0, 0.25]))
    (ratio,) = [score for score in found.headlines if score.role == "difference"]
    assert (ratio.model, ratio.value) == ("bert / vectors.txt", pytest.approx(0.25))
    of_vectors = {score.measure for score in found.headlines if score.model == "vectors.txt"}
    assert of_vectors == {"sentences_per_second", "tokens_per_second", "latency", "parameters"}


def test_flops_are_those_of_the_matrix_products(bert: Path) -> None:
    embedder = Embedder.from_folder(bert)
    (one,) = embedder.network.encode(TEXTS[:1])
    tokens, hidden, inner, layers = len(one.offsets), 16, 24, 2
    per_layer = 2 * tokens * (4 * hidden * hidden + 2 * hidden * inner) + 4 * tokens * tokens * hidden
    pooler = 2 * hidden * hidden
    assert count_flops(embedder, TEXTS[:1]) == pytest.approx((layers * per_layer + pooler) / tokens)


def test_the_loop_computes_what_the_extractor_does(bert: Path) -> None:
    embedder = Embedder.from_folder(bert)
    ours, _ = embedder.embed_texts(TEXTS, layers=[2])
    np.testing.assert_allclose(ours[0], loop_of_single_calls(embedder, TEXTS), rtol=0, atol=1e-5)


def test_the_interval_of_a_median_holds_it_at_its_rate() -> None:
    rng = np.random.default_rng(0)
    spreads = [spread_of(one) for one in rng.lognormal(size=(1000, 15))]
    held = np.mean([one.low <= 1 <= one.high for one in spreads])
    assert 0.95 <= held <= 0.98  # 4th and 12th of 15: 0.965
    few = spread_of(np.array([3.0, 1.0, 2.0]))
    assert (few.median, few.low, few.high, few.quartiles) == (2, 1, 3, (1.5, 2.5))


def test_sentences_are_a_file_of_lines_or_built_in(tmp_path: Path) -> None:
    assert len(read_sentences(None, most=7)) == 7
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(ProbeError, match=r"empty\.txt is empty, expected a sentence a line"):
        read_sentences(tmp_path / "empty.txt", most=5)
    with pytest.raises(ProbeError, match=r"nowhere: there is no such file.*Expected a sentence a line"):
        read_sentences(tmp_path / "nowhere", most=5)


def test_too_few_rounds_are_refused(tmp_path: Path, bert: Path) -> None:
    with pytest.raises(ProbeError, match=r"--rounds 2 .*expected at least 3 rounds"):
        ask(tmp_path, [str(bert)], Clock([1]), rounds=2)


def test_layers_are_refused(tmp_path: Path, bert: Path) -> None:
    inquiry = Inquiry(models_of([str(bert)], precision="float32"), tmp_path, layers=(9,))
    with pytest.raises(ProbeError, match=r"--layers 9: speed times the way to the last one\. Expected no layers"):
        examine(inquiry, sentences=None, most=1, batch_size=None, rounds=3)
