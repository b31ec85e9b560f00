"""Vectors as maps for the report, and as files: parquet, and those of TensorBoard's projector.

The maps are made of vectors of length 1, so that distances follow the cosine. Files hold the vectors as they are.
"""

# K layers, N points, D dimensions

import json
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from probes.names import file_stem
from probes.projections import Array, Principal, principal, project_tsne
from probes.results import Map, Point, Projection
from probes.source import Vectors
from probes.unit_vectors import unit

DIGITS = 4
"""Of the largest coordinate of a map, which is more than a screen shows."""
ROWS = 2048
"""Vectors of one row group at most."""


@dataclass(frozen=True)
class Saved:
    """Vectors of one model and layer to be written to files, and what each of them is."""

    model: str
    layer: int
    group: str
    """The word that they are about; empty: no single one."""
    points: Sequence[Point]
    """N of them, in the order of the vectors."""
    vectors: Vectors
    """(N, D)"""


def make_map(
    vectors_KND: Vectors,
    points: Sequence[Point],
    *,
    title: str,
    model: str,
    layers: Sequence[int],
    group: str = "",
    seed: int,
    with_tsne: bool = True,
) -> Map:
    """PCA and t-SNE of N points in each of K layers, in the order of the points.

    A layer's axes are turned to the side that the layer before has them on, so that points jump less between layers.

    Args:
        points: what each vector is.
        title: what is mapped.
        layers: K numbers of the layers.
        group: the word that it is about.
        seed: of t-SNE.
        with_tsne: False: PCA only.
    """
    assert len(vectors_KND) == len(layers) and vectors_KND.shape[1] == len(points)
    projections: dict[int, Projection] = {}
    before: Array | None = None
    for layer, vectors in zip(layers, unit(vectors_KND), strict=True):
        found = _turned(principal(vectors), before)
        before = found.points
        projections[layer] = Projection(
            pca=_rounded(found.points),
            tsne=_rounded(project_tsne(vectors, seed=seed)) if with_tsne else None,
            variance=tuple(round(float(share), DIGITS) for share in found.variance),
        )
    return Map(title=title, model=model, points=list(points), layers=projections, group=group)


def save_vectors(out: Path, probe: str, parts: Sequence[Saved]) -> Path:
    """Write OUT/<probe>.vectors/ whole or not at all, in place of an older one; returns that folder.

    embeddings.parquet has a row for each vector: model, layer, word, text, begin, end (characters of the word in the
    text, if it has a place there), group, label, vector (list of float32). Beside it, for each part, NAME.tsv with its
    vectors and NAME.metadata.tsv, and projector_config.pbtxt: `tensorboard --logdir` of the folder shows them.
    """
    folder = out / f"{probe}.vectors"
    partial, old = (out / f".{folder.name}.{os.getpid()}.{state}" for state in ("partial", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write_parquet(partial / "embeddings.parquet", parts)
        _write_projector(partial, parts)
        if folder.exists():
            folder.replace(old)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return folder


def _turned(found: Principal, before: Array | None) -> Principal:
    """The same with axes mirrored that run against those of the layer before."""
    if before is None:
        return found
    signs = np.where((found.points * before).sum(axis=0) < 0, -1.0, 1.0)
    return Principal(found.points * signs, found.variance)


def _rounded(points: Array) -> list[tuple[float, ...]]:
    """Rows with DIGITS digits in the largest number."""
    largest = np.abs(points).max(initial=0)
    decimals = DIGITS - 1 - math.floor(math.log10(largest)) if largest > 0 else 0
    # Adding zero makes -0.0 to 0.0.
    return [tuple(row) for row in (np.round(points, decimals) + 0.0).tolist()]


def _write_parquet(path: Path, parts: Sequence[Saved]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("model", pa.string()),
            ("layer", pa.int32()),
            *((name, pa.string()) for name in ("word", "text")),
            *((name, pa.int32()) for name in ("begin", "end")),
            *((name, pa.string()) for name in ("group", "label")),
            ("vector", pa.list_(pa.float32())),
        ]
    )
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for part in parts:
            assert len(part.points) == len(part.vectors)
            for first in range(0, len(part.points), ROWS):
                points, vectors = part.points[first : first + ROWS], part.vectors[first : first + ROWS]
                ends = np.arange(len(points) + 1, dtype=np.int32) * vectors.shape[1]
                columns = {
                    "model": [part.model] * len(points),
                    "layer": [part.layer] * len(points),
                    "word": [part.group] * len(points),
                    "text": [point.text for point in points],
                    "begin": [point.span and point.span[0] for point in points],
                    "end": [point.span and point.span[1] for point in points],
                    "group": [point.group for point in points],
                    "label": [point.label for point in points],
                    "vector": pa.ListArray.from_arrays(ends, pa.array(vectors.astype(np.float32).ravel())),
                }
                writer.write_table(pa.table(columns, schema=schema))


def _write_projector(folder: Path, parts: Sequence[Saved]) -> None:
    """Text and not the binary form, which TensorBoard knows only by its not being UTF-8."""
    from pyarrow import csv, table

    options = csv.WriteOptions(include_header=False, delimiter="\t")
    entries = []
    for number, part in enumerate(parts, 1):
        name = f"{number:03d}_{file_stem(part.model, f'layer{part.layer}', *filter(None, [part.group]))}"
        columns = {str(column): values for column, values in enumerate(part.vectors.astype(np.float32).T)}
        csv.write_csv(table(columns), folder / f"{name}.tsv", options)
        rows = [(point.label or point.text, point.group, point.text) for point in part.points]
        lines = ["\t".join(map(_one_line, row)) for row in [("label", "group", "text"), *rows]]
        (folder / f"{name}.metadata.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        title = " · ".join(filter(None, [part.model, f"layer {part.layer}", part.group]))
        fields = {
            "tensor_name": _one_line(title),
            "tensor_path": f"{name}.tsv",
            "metadata_path": f"{name}.metadata.tsv",
        }
        body = "\n".join(f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items())
        shape = "".join(f"  tensor_shape: {size}\n" for size in part.vectors.shape)
        entries.append(f"embeddings {{\n{body}\n{shape}}}\n")
    (folder / "projector_config.pbtxt").write_text("".join(entries), encoding="utf-8")


def _one_line(text: str) -> str:
    """Text without the tabs and line ends that part the cells of a table."""
    return " ".join(text.split())
