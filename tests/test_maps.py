"""Vectors in two and three dimensions, as maps and as files."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA

from probes.maps import Saved, make_map, save_vectors
from probes.names import file_stem
from probes.projections import principal, project_pca, project_tsne
from probes.results import Map, Point
from probes.unit_vectors import unit

Array = NDArray[np.float64]


def random_vectors(n: int, width: int = 8, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(n, width))


def points(n: int) -> list[Point]:
    return [Point(text=f"text {i}", span=(0, 4), group=f"g{i % 3}", label=f"w{i}") for i in range(n)]


@pytest.mark.parametrize("shape", [(40, 8), (6, 30), (4, 2)])
def test_principal_coordinates_are_those_of_sklearn_up_to_sign(shape: tuple[int, int]) -> None:
    vectors = random_vectors(*shape)
    found = principal(vectors)
    reference = PCA(min(3, *shape)).fit(vectors)
    known = reference.transform(vectors)
    columns = known.shape[1]
    assert np.allclose(np.abs(found.points[:, :columns]), np.abs(known), atol=1e-9)
    assert np.allclose(found.variance[:columns], reference.explained_variance_ratio_)
    assert not found.points[:, columns:].any() and not found.variance[columns:].any()


def test_rotating_or_mirroring_the_vectors_changes_no_principal_coordinate() -> None:
    vectors = random_vectors(30)
    turn = np.linalg.qr(random_vectors(8, 8, seed=1))[0]
    assert np.allclose(principal(vectors).points, principal(vectors @ turn).points)
    assert np.allclose(pdist(principal(vectors, 8).points), pdist(vectors))


def test_the_signs_of_the_axes_do_not_hang_on_the_last_digits() -> None:
    vectors = random_vectors(30)
    noise = 1e-9 * random_vectors(30, seed=5)
    assert np.allclose(principal(vectors).points, principal(vectors + noise).points, atol=1e-6)
    ends = np.array([[1.0, 0, 0], [-1.0, 0, 0], [0, 0.5, 0]])
    assert np.allclose(principal(ends).points, principal(ends * [1 - 1e-9, 1, 1]).points, atol=1e-6)


@pytest.mark.parametrize("n", [2, 3, 5, 12, 60])
def test_tsne_works_with_any_number_of_points_and_repeats_itself(n: int) -> None:
    vectors = random_vectors(n)
    found = project_tsne(vectors, seed=1)
    assert found.shape == (n, 2) and np.isfinite(found).all() and pdist(found).min() > 0
    assert np.array_equal(found, project_tsne(vectors, seed=1))


def test_tsne_keeps_neighbours_together() -> None:
    centres = 10 * random_vectors(3, seed=2)
    vectors = np.repeat(centres, 30, axis=0) + random_vectors(90)
    found = project_tsne(vectors, seed=0)
    groups = np.repeat(np.arange(3), 30)
    nearest = [int(np.argsort(np.linalg.norm(found - one, axis=1))[1]) for one in found]
    assert (groups[nearest] == groups).all()


@pytest.mark.parametrize("vectors", [np.ones((1, 5)), np.ones((2, 5)), np.zeros((3, 5)), np.ones((40, 5))])
def test_vectors_that_do_not_differ_lie_at_zero(vectors: Array) -> None:
    assert not project_pca(vectors).any() and not project_tsne(vectors, seed=0).any()
    assert not principal(vectors).variance.any()


@pytest.mark.parametrize("distinct", [1, 2, 4])
def test_tsne_works_where_most_points_are_the_same(distinct: int) -> None:
    vectors = np.concatenate([np.ones((20, 8)), random_vectors(distinct)])
    assert np.isfinite(project_tsne(vectors, seed=0)).all()


def test_a_map_has_each_layer_s_points_in_their_order() -> None:
    vectors_KND = random_vectors(2 * 12).reshape(2, 12, 8).astype(np.float32)
    found = make_map(vectors_KND, points(12), title="t", model="m", layers=[0, 4], seed=3)
    assert list(found.layers) == [0, 4] and found.points == points(12)
    for vectors, projection in zip(unit(vectors_KND), found.layers.values(), strict=True):
        assert np.allclose(np.abs(projection.pca), np.abs(principal(vectors).points), atol=1e-3)
        assert np.allclose(projection.tsne, project_tsne(vectors, seed=3), rtol=1e-2, atol=1e-2)
        assert np.allclose(projection.variance, principal(vectors).variance, atol=1e-4)
    assert Map.model_validate_json(found.model_dump_json()) == found


def test_a_map_looks_at_directions_and_not_at_lengths() -> None:
    vectors_KND = random_vectors(12)[None].astype(np.float32)
    scaled = vectors_KND * np.linspace(1, 9, 12, dtype=np.float32)[None, :, None]
    made = [make_map(one, points(12), title="t", model="m", layers=[1], seed=0) for one in (vectors_KND, scaled)]
    assert np.allclose(made[0].layers[1].pca, made[1].layers[1].pca, atol=2e-3)


def test_an_axis_does_not_turn_round_between_layers() -> None:
    vectors = random_vectors(20)
    # The far point changes sides from one layer to the next, all others stay.
    first, second = vectors.copy(), vectors.copy()
    first[0], second[0] = 3 * vectors[1], -3 * vectors[1]
    layers_KND = np.stack([first, second]).astype(np.float32)
    found = make_map(layers_KND, points(20), title="t", model="m", layers=[0, 1], seed=0, with_tsne=False)
    before, after = (np.array(found.layers[layer].pca) for layer in (0, 1))
    assert ((before * after).sum(axis=0) >= 0).all()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_map_of_few_points_works(n: int) -> None:
    vectors_KND = np.ones((1, n, 4), dtype=np.float32)
    found = make_map(vectors_KND, points(n), title="t", model="m", layers=[0], seed=0)
    assert found.layers[0].pca == [(0.0, 0.0, 0.0)] * n and found.layers[0].tsne == [(0.0, 0.0)] * n
    assert (
        make_map(vectors_KND, points(n), title="t", model="m", layers=[0], seed=0, with_tsne=False).layers[0].tsne
        is None
    )


TEXT = 'Die "Bank"\tam\\Fluß 🏦\nend'


def parts() -> list[Saved]:
    """Two models of differing width; a text with all that a table's cells must not hold."""
    strange = Point(text=TEXT, span=(5, 9), group="Geld", label="Bank")
    return [
        Saved("a/b", 0, "Bank", [strange, *points(2)], random_vectors(3, 4).astype(np.float32)),
        Saved("مدل", 12, "", [Point(text="no place")] * 5000, random_vectors(5000, 2).astype(np.float32)),
    ]


def test_parquet_gives_every_vector_back_in_its_order(tmp_path: Path) -> None:
    read = pq.ParquetFile(save_vectors(tmp_path, "map", parts()) / "embeddings.parquet")
    rows = read.read().to_pylist()
    assert read.num_row_groups == 4
    expected = [
        (part, point, vector) for part in parts() for point, vector in zip(part.points, part.vectors, strict=True)
    ]
    assert len(rows) == len(expected)
    for row, (part, point, vector) in zip(rows, expected, strict=True):
        assert (row["model"], row["layer"], row["word"]) == (part.model, part.layer, part.group)
        assert (row["text"], row["group"], row["label"]) == (point.text, point.group, point.label)
        assert (row["begin"], row["end"]) == (point.span or (None, None))
        assert np.array_equal(np.float32(row["vector"]), vector)


def test_tensorboard_s_projector_reads_what_is_saved(tmp_path: Path) -> None:
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
    from tensorboard.plugins.projector.projector_plugin import _read_tensor_tsv_file, _rel_to_abs_asset_path

    folder = save_vectors(tmp_path, "map", parts())
    config = text_format.Parse((folder / "projector_config.pbtxt").read_text(encoding="utf-8"), ProjectorConfig())
    assert [one.tensor_name for one in config.embeddings] == ["a/b · layer 0 · Bank", "مدل · layer 12"]
    for entry, part in zip(config.embeddings, parts(), strict=True):
        found = [
            _rel_to_abs_asset_path(p, str(folder / "projector_config.pbtxt"))
            for p in (entry.tensor_path, entry.metadata_path)
        ]
        assert np.array_equal(_read_tensor_tsv_file(found[0]), part.vectors)
        assert list(entry.tensor_shape) == list(part.vectors.shape)
        lines = Path(found[1]).read_text(encoding="utf-8").removesuffix("\n").split("\n")
        assert lines[0] == "label\tgroup\ttext" and len(lines) == 1 + len(part.vectors)
        assert {line.count("\t") for line in lines} == {2}


def test_saving_again_leaves_nothing_of_the_older_vectors(tmp_path: Path) -> None:
    save_vectors(tmp_path, "map", parts())
    folder = save_vectors(tmp_path, "map", parts()[:1])
    assert len(list(folder.glob("*.tsv"))) == 2 and [path.name for path in tmp_path.iterdir()] == ["map.vectors"]


def test_what_cannot_be_written_leaves_the_older_vectors(tmp_path: Path) -> None:
    before = sorted(path.name for path in save_vectors(tmp_path, "map", parts()).iterdir())
    with pytest.raises(AssertionError):
        save_vectors(tmp_path, "map", [Saved("m", 0, "", points(2), np.ones((3, 2), dtype=np.float32))])
    assert sorted(path.name for path in (tmp_path / "map.vectors").iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["map.vectors"]


def test_file_names_are_safe() -> None:
    assert file_stem("senses", "a/b c", "..") == "senses_a-b-c_x"
    assert len(file_stem("w" * 1000)) < 100
