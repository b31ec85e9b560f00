"""The pictures of the senses probe: curves by layer, and for every word a similarity matrix and projections."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from probes.embedders import Vectors
from probes.figures import (
    Curve,
    Level,
    draw_curves,
    draw_heatmaps,
    draw_projections,
    project_pca,
    project_tsne,
    shorten_around,
)
from probes.probe import Score, file_stem
from probes.sense_words import CHANCE, MAJORITY, MODEL, RANDOM, STATIC
from probes.usages import Usage


def draw(
    scores: Sequence[Score],
    *,
    trained: Vectors,
    random: Vectors,
    usages: Sequence[Usage],
    layer: int,
    name: str,
    out: Path,
    seed: int,
) -> list[dict[str, str]]:
    """Draw one model's pictures into `out`.

    Args:
        scores: the model's, as in the table.
        trained, random: (N, D) vectors of the words in one layer, of the model and of its random weights.
        layer: that layer.

    Returns:
        For each picture its `file` name, what it shows (`caption`), `kind` and `word` (empty for all words).
    """
    pictures = [_accuracy(scores, name=name, out=out), _cosine(scores, name=name, out=out)]
    for word in dict.fromkeys(usage.word for usage in usages):
        rows = [row for row, usage in enumerate(usages) if usage.word == word]
        chosen = [usages[row] for row in rows]
        pair = [
            (f"{name}, layer {layer}", _unit(trained[rows])),
            (f"random weights, layer {layer}", _unit(random[rows])),
        ]
        pictures.append(_similarity(pair, chosen, word=word, name=name, out=out))
        pictures.append(_projection(pair, chosen, word=word, name=name, out=out, seed=seed))
    return pictures


def _unit(vectors: Vectors) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Vectors of length 1, so that distances in the pictures follow the cosine that is scored."""
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / np.where(lengths == 0, 1, lengths)


def _curve(scores: Sequence[Score], measure: str, vectors: str, label: str, scale: float) -> Curve:
    found = [s for s in scores if s.measure == measure and s.vectors == vectors and s.word is None]
    return Curve(
        label,
        [float(s.layer or 0) for s in found],
        [scale * s.value for s in found],
        [scale * s.low for s in found],
        [scale * s.high for s in found],
    )


def _accuracy(scores: Sequence[Score], *, name: str, out: Path) -> dict[str, str]:
    level = {s.vectors: 100 * s.value for s in scores if s.measure == "accuracy" and s.word is None and s.layer is None}
    file = f"{file_stem('senses', name, 'accuracy')}.png"
    n = max(s.n for s in scores)
    draw_curves(
        out / file,
        [_curve(scores, "accuracy", MODEL, name, 100), _curve(scores, "accuracy", RANDOM, RANDOM, 100)],
        levels=[Level(f"{vectors} ({level[vectors]:.0f} %)", level[vectors]) for vectors in (MAJORITY, CHANCE, STATIC)],
        title=f"Nearest neighbour has the same sense (n = {n})",
        x_label="layer (0: embeddings)",
        y_label="% of the sentences",
        whole_x=True,
    )
    caption = f"{name}: sentences whose nearest neighbour has the same sense, by layer, with 95 % intervals."
    return {"kind": "curve", "word": "", "file": file, "caption": caption}


def _cosine(scores: Sequence[Score], *, name: str, out: Path) -> dict[str, str]:
    measure = "same_minus_different"
    file = f"{file_stem('senses', name, 'cosine')}.png"
    draw_curves(
        out / file,
        [_curve(scores, measure, MODEL, name, 1), _curve(scores, measure, RANDOM, RANDOM, 1)],
        levels=[Level("static vector (0)", 0.0)],
        title=f"Cosine to the same sense minus to other senses (n = {max(s.n for s in scores)})",
        x_label="layer (0: embeddings)",
        y_label="difference of cosines",
        whole_x=True,
    )
    caption = f"{name}: mean cosine to the same sense minus that to other senses, by layer, with 95 % intervals."
    return {"kind": "curve", "word": "", "file": file, "caption": caption}


Pair = Sequence[tuple[str, np.ndarray[tuple[int, int], np.dtype[np.float64]]]]
"""Title and (n, D) unit vectors, of the model and of its random weights."""


def _similarity(pair: Pair, usages: Sequence[Usage], *, word: str, name: str, out: Path) -> dict[str, str]:
    file = f"{file_stem('senses', name, word, 'similarity')}.png"
    draw_heatmaps(
        out / file,
        [(title, unit @ unit.T) for title, unit in pair],
        labels=[shorten_around(usage.sentence, usage.span) for usage in usages],
        groups=[usage.sense for usage in usages],
        title=f"{word}: cosine of every two sentences",
    )
    caption = f"{word}: cosine of every two of {len(usages)} sentences, by sense. Each panel has its own colour scale."
    return {"kind": "similarity", "word": word, "file": file, "caption": caption}


def _projection(pair: Pair, usages: Sequence[Usage], *, word: str, name: str, out: Path, seed: int) -> dict[str, str]:
    file = f"{file_stem('senses', name, word, 'projection')}.png"
    draw_projections(
        out / file,
        [
            [(f"PCA: {title}", project_pca(unit)), (f"t-SNE: {title}", project_tsne(unit, seed=seed))]
            for title, unit in pair
        ],
        groups=[usage.sense for usage in usages],
        title=f"{word}: {len(usages)} sentences in two dimensions",
    )
    caption = f"{word}: the same vectors in two dimensions. t-SNE keeps neighbours, not distances between groups."
    return {"kind": "projection", "word": word, "file": file, "caption": caption}
