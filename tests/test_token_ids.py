"""Laws of token ids in several files: they read as one array does."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenization import token_ids
from tokenization.token_ids import TokenIds


def _write(folder: Path, lengths: list[int], dtype: str = "uint16") -> tuple[TokenIds, np.ndarray]:
    whole = np.random.default_rng(len(lengths)).integers(0, 60_000, size=sum(lengths)).astype(dtype)
    ends = np.cumsum(lengths)
    paths = [folder / f"{number}.npy" for number in range(len(lengths))]
    for path, end, length in zip(paths, ends, lengths, strict=True):
        np.save(path, whole[end - length : end])
    return TokenIds(paths, lengths, dtype), whole


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), data=st.data())
def test_slices_and_indices_give_what_one_array_gives(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], data: st.DataObject
) -> None:
    ids, whole = _write(tmp_path_factory.mktemp("ids"), lengths)
    assert len(ids) == len(whole)
    bound = st.one_of(st.none(), st.integers(-len(whole) - 2, len(whole) + 2))
    key = slice(data.draw(bound), data.draw(bound))
    np.testing.assert_array_equal(ids[key], whole[key])
    indices = np.array(data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=20)), dtype=np.int64)
    np.testing.assert_array_equal(ids[indices], whole[indices])
    np.testing.assert_array_equal(ids[np.stack([indices, indices])], whole[np.stack([indices, indices])])


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_ids_keep_their_type(tmp_path: Path, dtype: str) -> None:
    ids, _ = _write(tmp_path, [3, 4], dtype)
    for key in (slice(0, 7), slice(5, 5), np.array([1, 6]), np.empty((0, 3), dtype=np.int64)):
        assert ids[key].dtype == ids.dtype == dtype


def test_there_may_be_no_id_at_all() -> None:
    ids = TokenIds([], [], "uint16")
    assert len(ids) == 0
    assert ids[:].tolist() == ids[np.empty(0, dtype=np.int64)].tolist() == []


@pytest.mark.parametrize("index", [-1, 7])
def test_an_index_outside_is_our_fault(tmp_path: Path, index: int) -> None:
    ids, _ = _write(tmp_path, [3, 4])
    with pytest.raises(AssertionError, match="outside"):
        ids[np.array([0, index])]


def test_more_files_than_may_be_open_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_ids, "_MAX_OPEN", 2)
    ids, whole = _write(tmp_path, [5] * 8)
    order = np.random.default_rng(0).permutation(len(whole))
    np.testing.assert_array_equal(ids[order], whole[order])
    np.testing.assert_array_equal(ids[:], whole)


def test_what_was_read_may_be_written_to(tmp_path: Path) -> None:
    ids, whole = _write(tmp_path, [5, 5])
    for key in (slice(0, 3), np.array([0, 1])):
        ids[key][:] = 0
    np.testing.assert_array_equal(ids[:], whole)
