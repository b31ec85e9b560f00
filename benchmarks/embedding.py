"""Speed of the extractor: vectors of words in sentences, beside a loop of single-sentence transformers calls.

    OMP_NUM_THREADS=2 python -m benchmarks.embedding MODEL... [--usages TABLE.tsv]

Both give every layer's vector of one word a sentence. The loop is what one would write: tokenizer, model with
output_hidden_states, mean over the word's pieces, in float32. Ways take turns in one process; ratios are taken turn by
turn. In float32 both must agree to 1e-5, which is checked before anything is timed.
"""

import argparse
import csv
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.turns import spread_table
from probes.embedders import Embedder
from probes.models import model_folder
from probes.source import Span, Vectors
from probes.speed import take_turns
from probes.usages import BUILT_IN


def main() -> None:
    """Time every way and print medians."""
    parser = argparse.ArgumentParser(description="Sentences a second of the extractor and of a loop of single calls.")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--usages", type=Path, default=BUILT_IN, help="columns word, sentence")
    parser.add_argument("--most", type=int, default=100, help="sentences")
    parser.add_argument("--turns", type=int, default=9)
    given = parser.parse_args()
    sentences, spans = read_usages(given.usages, given.most)
    print(f"{len(sentences)} sentences, {torch.get_num_threads()} threads")
    for model in given.models:
        _time(str(model_folder(model)), sentences, spans, given.turns)


def read_usages(path: Path, most: int) -> tuple[list[str], list[Span]]:
    """Sentences of a table, and where their word first stands."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[:most]
    begins = [row["sentence"].lower().find(row["word"].lower()) for row in rows]
    spans = [(begin, begin + len(row["word"])) for row, begin in zip(rows, begins, strict=True)]
    return [row["sentence"] for row in rows], spans


def single_calls(embedder: Embedder, sentences: Sequence[str], spans: Sequence[Span]) -> Vectors:
    """(K, N, D), a sentence a call."""
    found = []
    for sentence, (begin, end) in zip(sentences, spans, strict=True):
        inputs = embedder.tokenizer(
            sentence, return_tensors="pt", return_offsets_mapping=True, truncation=True, max_length=embedder.max_length
        )
        offsets = inputs.pop("offset_mapping")[0].tolist()
        pieces = [at for at, (a, b) in enumerate(offsets) if a < b and a < end and b > begin]
        with torch.no_grad():
            hidden = embedder.model(**inputs, output_hidden_states=True).hidden_states
        found.append(torch.stack([layer[0, pieces].mean(0) for layer in hidden]))
    return np.asarray(torch.stack(found, dim=1).numpy(), np.float32)


def _time(path: str, sentences: list[str], spans: list[Span], turns: int) -> None:
    exact, fast = (Embedder.from_folder(path, precision=one) for one in ("float32", "auto"))
    worst = np.abs(exact.embed(sentences, spans) - single_calls(exact, sentences, spans)).max()
    assert worst < 1e-5, f"differs by {worst}"
    default = f"extractor, {'bfloat16' if fast.is_bfloat16 else 'float32'} (auto)"
    ways = {
        "loop of single calls": lambda: single_calls(exact, sentences, spans),
        "extractor, float32": lambda: exact.embed(sentences, spans),
        default: lambda: fast.embed(sentences, spans),
    }
    seconds = take_turns(ways, rounds=turns, clock=time.perf_counter)
    loop = seconds["loop of single calls"]
    tokens = np.mean([len(one.offsets) for one in exact.network.encode(sentences)])
    print(f"\n{path}: {tokens:.1f} tokens a sentence; float32 differs from the loop by {worst:.1e} at most")
    rates = {name: list(len(sentences) / found) for name, found in seconds.items()}
    print(spread_table("way", "sentences/s, ", rates, ".0f"))
    print(spread_table("over the loop", "", {name: list(loop / found) for name, found in seconds.items()}, ".2f"))


if __name__ == "__main__":
    main()
