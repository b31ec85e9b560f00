"""The first losses of shipped recipes, as they were when they were last looked at; `make golden` rewrites them."""

from pathlib import Path

import numpy as np
import pytest

from tests.golden import FOLDER, RECIPES, curve

RELATIVE_TOLERANCE = 2e-3  # another CPU sums in another order; another algorithm is farther away than that


def _table(lines: list[str]) -> tuple[str, np.ndarray]:
    return lines[0], np.array([[float(word) for word in line.split()] for line in lines[1:]])


@pytest.mark.parametrize("name", RECIPES)
def test_the_first_losses_are_as_they_were(name: str, cache_dir: Path) -> None:
    head, expected = _table((FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines())
    found_head, found = _table(curve(name, cache_dir))
    assert found_head == head
    assert expected[-1, 1] < expected[0, 1] - 0.3, "a curve on which nothing is learnt tells nothing"
    np.testing.assert_allclose(found, expected, rtol=RELATIVE_TOLERANCE)
