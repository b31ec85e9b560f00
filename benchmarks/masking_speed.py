"""Speed of masking: tokens a second on one core, for every policy.

    OMP_NUM_THREADS=1 python -m benchmarks.masking_speed

Rows are full, of made-up text with the word lengths of English under a WordPiece vocabulary: of 30,522 ids a third
continue words. Training is never faster than a few hundred thousand tokens a second on a process, so what counts is
that masking is far above that.
"""

import argparse
import statistics
import time

import numpy as np
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from objectives.masking import MASKINGS
from tokenization.families.pieces import CONTINUATION
from tokenization.vocabulary import SPECIAL_TOKENS, Vocabulary

SHAPES = [(64, 128), (32, 512)]
_VOCAB_SIZE = 30_522
_PIECES_PER_WORD = 1.3  # what WordPiece vocabularies of this size have on English
_SECONDS = 0.05  # of a run at least: long beside the clock's resolution, short beside what else the machine does


def main() -> None:
    """Time every policy at every shape and print medians."""
    parser = argparse.ArgumentParser(description="Tokens a second that each masking policy masks on one core.")
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    vocabulary = _vocabulary()
    print("| policy | rows x tokens | million tokens/s, median | lowest | highest |\n| --- | --- | --- | --- | --- |")
    for name in MASKINGS:
        for shape in SHAPES:
            speeds = [speed / 1e6 for speed in _speeds(name, _rows(vocabulary, shape), vocabulary, runs)]
            figures = f"{statistics.median(speeds):.1f} | {min(speeds):.1f} | {max(speeds):.1f}"
            print(f"| {name} | {shape[0]} x {shape[1]} | {figures} |")


def _speeds(name: str, rows: np.ndarray, vocabulary: Vocabulary, runs: int) -> list[float]:
    """Tokens a second of each run; every call masks an epoch of its own."""
    policy, indices = MASKINGS[name](), np.arange(len(rows))
    speeds, epoch = [], 0
    for _ in range(runs + 1):
        began, first = time.perf_counter(), epoch
        while time.perf_counter() - began < _SECONDS:
            policy.mask(rows, indices=indices, vocabulary=vocabulary, seed=0, epoch=epoch)  # type: ignore[attr-defined]
            epoch += 1
        speeds.append((epoch - first) * rows.size / (time.perf_counter() - began))
    return speeds[1:]  # the first warms up


def _vocabulary() -> Vocabulary:
    num_continuing = _VOCAB_SIZE // 3
    plain = [f"w{i}" for i in range(_VOCAB_SIZE - num_continuing - len(SPECIAL_TOKENS))]
    tokens = [*SPECIAL_TOKENS, *plain, *(f"{CONTINUATION}p{i}" for i in range(num_continuing))]
    model = models.WordPiece(vocab={token: i for i, token in enumerate(tokens)}, unk_token="[UNK]")
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL_TOKENS, strict=True))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model), **names)
    return Vocabulary.from_tokenizer(tokenizer, origin="the benchmark")


def _rows(vocabulary: Vocabulary, shape: tuple[int, int]) -> np.ndarray:
    """Pairs of segments that fill their rows."""
    draw = np.random.default_rng(0)
    ordinary = vocabulary.ordinary_ids
    plain = ordinary[vocabulary.is_word_start[ordinary]]
    continuing = ordinary[~vocabulary.is_word_start[ordinary]]
    rows = draw.choice(plain, size=shape)
    continues = draw.random(shape) < 1 - 1 / _PIECES_PER_WORD
    rows[continues] = draw.choice(continuing, size=int(continues.sum()))
    rows[:, 0] = vocabulary.cls_id
    rows[:, [shape[1] // 2, -1]] = vocabulary.sep_id
    return rows


if __name__ == "__main__":
    main()
