"""Laws of the sums: parts add up to the whole in every layout; what had no target tells nothing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from objectives.detections import FIGURES, HISTOGRAM_SIZE, figures, histogram
from objectives.objective import Loss, Objective
from pretrain.tally import Tally

TERMS = ("generator", "discriminator")
CPU = torch.device("cpu")


class _Asked(Objective):
    """An objective of two terms, one with a histogram; there is nothing to train in it."""

    def __init__(self) -> None:
        super().__init__(nn.Identity(), dict.fromkeys(TERMS, 1.0), {"discriminator": HISTOGRAM_SIZE})  # type: ignore[arg-type]

    def figures(self, term: str, histogram: Tensor) -> dict[str, float]:
        assert term == "discriminator"
        return figures(histogram)


def _losses(logits: Tensor, kinds: Tensor) -> dict[str, Loss]:
    """Made-up losses of these positions, each a function of the position alone."""
    return {
        "generator": Loss(logits.abs()[kinds > 0].sum(), (kinds > 0).sum(), (kinds == 1).sum()),
        "discriminator": Loss(
            logits.exp().sum(), torch.tensor(len(kinds)), (kinds == 2).sum(), histogram(logits, kinds)
        ),
    }


def _all_of(tally: Tally) -> dict[str, float]:
    return tally.losses() | tally.figures()


@given(st.data())
def test_parts_of_steps_micro_batches_and_processes_add_up_to_the_whole(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 200))
    draw = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    logits, kinds = 3 * torch.randn(count, generator=draw), torch.randint(0, 3, (count,), generator=draw)
    cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=5)))
    whole, summed = Tally(_Asked(), TERMS, CPU), Tally(_Asked(), TERMS, CPU)
    whole.add(_losses(logits, kinds))
    for first, last in zip([0, *cuts], [*cuts, count], strict=True):
        part = Tally(_Asked(), TERMS, CPU)
        part.add(_losses(logits[first:last], kinds[first:last]))
        summed.sums += part.sums
    assert _all_of(summed) == pytest.approx(_all_of(whole), rel=1e-6)
    assert summed.figures() == whole.figures(), "counts are exact"


def test_a_term_without_a_target_tells_nothing() -> None:
    tally = Tally(_Asked(), TERMS, CPU)
    assert _all_of(tally) == {}
    tally.add(_losses(torch.tensor([1.0, -1.0]), torch.tensor([0, 0])))
    assert tally.losses().keys() == {"discriminator_nats"}
    assert tally.figures().keys() == {"accuracy/discriminator", "precision/discriminator"}


def test_terms_that_are_not_counted_are_left_out_with_their_figures() -> None:
    tally = Tally(_Asked(), ("generator",), CPU)
    tally.add(_losses(torch.tensor([1.0, -1.0]), torch.tensor([1, 2])))
    assert tally.losses() == {"generator_nats": 1.0}
    assert tally.figures() == {"accuracy/generator": 0.5}


def test_the_state_is_all_of_it_and_a_copy() -> None:
    tally, other = Tally(_Asked(), TERMS, CPU), Tally(_Asked(), TERMS, CPU)
    tally.add(_losses(torch.tensor([1.0, -1.0, 2.0, 0.3]), torch.tensor([0, 1, 2, 2])))
    state = tally.state()
    assert set(FIGURES) < tally.figures().keys()
    expected = _all_of(tally)
    tally.sums.zero_()
    other.load_state(state)
    assert _all_of(other) == expected
    other.add(_losses(torch.tensor([1.0]), torch.tensor([2])))
    assert _all_of(other) != expected, "the terms are still views of the sums"
