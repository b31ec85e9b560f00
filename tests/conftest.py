"""What the tests share: a small vocabulary and corpora of a given shape, both in memory, and a tiny run on disk."""

import dataclasses
import itertools
import json
import os
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

os.environ["HF_HUB_OFFLINE"] = "1"  # before the libraries are imported, which read it once

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from pretrain.assembly import build_objective, prepared_store, training_examples
from pretrain.checkpoints.progress import Progress
from pretrain.distributed.processes import Processes
from pretrain.distributed.signals import Signals
from pretrain.launching import Launch
from pretrain.loop import Loop
from pretrain.recipe import Recipe, read_recipe
from pretrain.run import train
from tokenization.store import TokenSplit
from tokenization.vocabulary import Vocabulary

Documents = Sequence[Sequence[Sequence[int]]]
"""Pieces per word, by sentence, by document."""

settings.register_profile(
    "same every time", max_examples=60, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
settings.load_profile("same every time")


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """WordPiece of 40 words and 20 continuing pieces; special tokens scattered, so that no law leans on their ids."""
    names = [f"w{i}" for i in range(40)] + [f"##p{i}" for i in range(20)] + ["[unused0]"]
    for place, token in ((0, "[unused1]"), (7, "[PAD]"), (13, "[MASK]"), (30, "[CLS]"), (31, "[UNK]"), (62, "[SEP]")):
        names.insert(place, token)
    model = models.WordPiece(vocab={name: i for i, name in enumerate(names)}, unk_token="[UNK]")
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(model),
        pad_token="[PAD]",
        mask_token="[MASK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
    )


@pytest.fixture(scope="session")
def vocabulary(tokenizer: PreTrainedTokenizerFast) -> Vocabulary:
    return Vocabulary.from_tokenizer(tokenizer, origin="the tests")


@pytest.fixture(scope="session")
def make_split(vocabulary: Vocabulary) -> Callable[[Documents], TokenSplit]:
    """A split of documents given as pieces per word; which words they are is drawn."""

    def make(documents: Documents, *, seed: int = 0) -> TokenSplit:
        sentences = [sentence for document in documents for sentence in document]
        return _fill(
            vocabulary,
            pieces=np.array([num for sentence in sentences for num in sentence], dtype=np.int64),
            words=np.array([len(sentence) for sentence in sentences], dtype=np.int64),
            sentences=np.array([len(document) for document in documents], dtype=np.int64),
            seed=seed,
        )

    return make


@pytest.fixture(scope="session")
def make_corpus(vocabulary: Vocabulary) -> Callable[..., TokenSplit]:
    """A split of drawn documents; ranges are inclusive."""

    def make(
        num_documents: int, *, sentences: tuple[int, int] = (5, 60), words: tuple[int, int] = (3, 30), seed: int = 0
    ) -> TokenSplit:
        draw = np.random.default_rng(seed)
        num_sentences = draw.integers(*sentences, size=num_documents, endpoint=True)
        num_words = draw.integers(*words, size=num_sentences.sum(), endpoint=True)
        pieces = draw.choice([1, 2, 3, 4], p=[0.75, 0.15, 0.07, 0.03], size=num_words.sum())
        return _fill(vocabulary, pieces=pieces, words=num_words, sentences=num_sentences, seed=seed)

    return make


@pytest.fixture(scope="session")
def wild_documents() -> st.SearchStrategy[list[list[list[int]]]]:
    """Documents of one word, of one giant sentence, of words of many pieces."""
    pieces = st.one_of(st.just(1), st.just(1), st.integers(2, 4), st.integers(5, 150))
    giant = st.integers(100, 700).map(lambda num_words: [1] * num_words)
    sentence = st.one_of(st.lists(pieces, min_size=1, max_size=15), st.just([1]), giant)
    document = st.one_of(st.just([[1]]), st.lists(sentence, min_size=1, max_size=12))
    return st.lists(document, min_size=1, max_size=14)


@pytest.fixture(scope="session")
def with_own_ids() -> Callable[[TokenSplit, Vocabulary], tuple[TokenSplit, Vocabulary]]:
    """The same split with token t of it as id t, and a vocabulary to match: an id then tells which token it is."""

    def rename(split: TokenSplit, vocabulary: Vocabulary) -> tuple[TokenSplit, Vocabulary]:
        count = split.num_tokens
        is_special = np.arange(count + 5) >= count
        return dataclasses.replace(split, ids=np.arange(count)), dataclasses.replace(
            vocabulary,
            size=count + 5,
            pad_id=count,
            unk_id=count + 1,
            cls_id=count + 2,
            sep_id=count + 3,
            mask_id=count + 4,
            special_ids=np.nonzero(is_special)[0],
            ordinary_ids=np.arange(count),
            is_special=is_special,
            is_word_start=np.append(vocabulary.is_word_start[split.ids], np.ones(5, dtype=bool)),
            is_word_end=np.append(vocabulary.is_word_end[split.ids], np.ones(5, dtype=bool)),
            tokens=(*(vocabulary.tokens[id] for id in split.ids.tolist()), "", "", "", "", ""),
        )

    return rename


# A tiny run on disk --------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """Commands catch signals, and accelerate keeps its state for the whole process; the next test starts anew."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    _reset_accelerate()


@pytest.fixture(scope="session")
def corpus_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two JSONL files of made-up English: 24 documents to train on, 6 held out."""
    draw = random.Random(5)
    people = ["farmer", "teacher", "child", "sailor", "doctor", "painter", "neighbour", "singer", "baker", "driver"]
    things = [
        "basket",
        "letter",
        "window",
        "river",
        "garden",
        "lamp",
        "boat",
        "table",
        "coat",
        "bridge",
        "apple",
        "wall",
    ]
    verbs = ["carried", "watched", "painted", "found", "left", "opened", "crossed", "sold", "mended", "wanted"]
    kinds = ["old", "small", "quiet", "green", "heavy", "broken", "new", "tall", "warm", "bright"]

    def sentence() -> str:
        kind, other = draw.choice(kinds), draw.choice(kinds)
        end = draw.choice(
            ["", " in the morning", f" near the {draw.choice(things)}", " after the rain", " and went home"]
        )
        return f"The {kind} {draw.choice(people)} {draw.choice(verbs)} the {other} {draw.choice(things)}{end}."

    folder = tmp_path_factory.mktemp("corpus")
    paths = folder / "train.jsonl", folder / "valid.jsonl"
    for path, count in zip(paths, (24, 6), strict=True):
        texts = [" ".join(sentence() for _ in range(draw.randint(5, 14))) for _ in range(count)]
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return paths


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests, so that each token store is made once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def tiny_text(corpus_files: tuple[Path, Path], cache_dir: Path) -> Callable[[Path], str]:
    """The smallest run, by its run directory: BERT of 2 x 32, rows of 32, vocabulary 200, float32, 20 steps of 16."""

    def text(run_dir: Path) -> str:
        return f"""\
name: tiny
seed: 7
output_dir: {run_dir}
cache_dir: {cache_dir}
corpus:     {{files: [{corpus_files[0]}], held_out: {{files: [{corpus_files[1]}]}}, license: cc0-1.0}}
tokenizer:  {{name: wordpiece, vocab_size: 200}}
examples:   {{name: sentence_pairs, max_seq_length: 32}}
masking:    {{name: token}}
encoder:    {{name: bert, num_hidden_layers: 2, hidden_size: 32, num_attention_heads: 2, intermediate_size: 64,
             max_position_embeddings: 40, hidden_dropout_prob: 0.0, attention_probs_dropout_prob: 0.0}}
objective:  {{name: mlm_nsp}}
optimizer:  {{name: adamw, learning_rate: 2e-3}}
schedule:   {{name: linear, warmup_steps: 4}}
train:      {{steps: 20, batch_size: 16, mixed_precision: no}}
log:        {{every_steps: 5}}
"""

    return text


@pytest.fixture
def tiny_file(tmp_path: Path, tiny_text: Callable[[Path], str]) -> Path:
    """The recipe of the smallest run as a file; its run directory is tmp_path/run."""
    path = tmp_path / "tiny.yaml"
    path.write_text(tiny_text(tmp_path / "run"), encoding="utf-8")
    return path


@pytest.fixture
def tiny(tiny_file: Path) -> Callable[..., Recipe]:
    """The tiny recipe with overrides."""
    return lambda *overrides: read_recipe(tiny_file, overrides)


@pytest.fixture(scope="session")
def detection() -> dict[str, tuple[str, ...]]:
    """Overrides that make the tiny recipe one of replaced-token detection, by the encoder's name."""
    electra = (
        "encoder={name: electra, num_hidden_layers: 2, hidden_size: 32, num_attention_heads: 2, embedding_size: 16, "
        "intermediate_size: 64, max_position_embeddings: 40, hidden_dropout_prob: 0.0, "
        "attention_probs_dropout_prob: 0.0}",
        "objective={name: replaced_token_detection, generator_fraction: 0.5}",
    )
    modernbert = (
        "encoder={name: modernbert, num_hidden_layers: 2, hidden_size: 32, num_attention_heads: 2, "
        "intermediate_size: 48, max_position_embeddings: 40, global_attn_every_n_layers: 2, local_attention: 16}",
        "objective={name: replaced_token_detection, generator_fraction: 1.0, generator_num_hidden_layers: 1}",
    )
    packed = "examples={name: packed, max_seq_length: 32}"
    masking = "masking={name: token, mask_replace_prob: 0.85, random_replace_prob: 0.0}"
    return {name: (*of, packed, masking) for name, of in {"electra": electra, "modernbert": modernbert}.items()}


@pytest.fixture(scope="session")
def make_loop() -> Callable[[Recipe], Loop]:
    """A recipe's loop at step 0, in this process."""

    def make(recipe: Recipe) -> Loop:
        _reset_accelerate()
        processes = Processes.start(recipe.train.mixed_precision)
        store = prepared_store(recipe)
        objective = build_objective(recipe, store, device=processes.device).train()
        examples = training_examples(recipe, store)
        return Loop(recipe, processes, objective, examples, recipe.optimizer.build(objective), Progress())

    return make


@pytest.fixture(scope="session")
def launch() -> Callable[..., Path]:
    """Train a recipe in this process and give its run directory; `stop_after` steps a signal comes."""

    def start(
        recipe: Recipe,
        *,
        stop_after: int | None = None,
        status: int = 143,
        resume: Path | None = None,
        fresh: bool = False,
    ) -> Path:
        _reset_accelerate()
        torch.seed()  # a process of its own would not have the last one's random numbers either
        with stopped_after(stop_after, status) as signals:
            return train(recipe, Launch(resume=resume, fresh=fresh), signals)

    return start


@contextmanager
def stopped_after(steps: int | None, status: int = 143) -> Iterator[Signals]:
    """Signals of which one seems to come while the step after so many is prepared; None: none does."""
    signals, number, real = Signals(), itertools.count(), Loop.step

    def step(loop: Loop, _: int) -> int:
        if next(number) == steps:
            signals.received = status
        return real(loop, signals.received)

    with mock.patch.object(Loop, "step", step):
        yield signals


def _reset_accelerate() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def _fill(
    vocabulary: Vocabulary, *, pieces: np.ndarray, words: np.ndarray, sentences: np.ndarray, seed: int
) -> TokenSplit:
    draw = np.random.default_rng(seed + 1)
    starts_word = vocabulary.is_word_start[vocabulary.ordinary_ids]
    ids = draw.choice(vocabulary.ordinary_ids[~starts_word], size=pieces.sum())
    word_offsets = _offsets(pieces)
    ids[word_offsets[:-1]] = draw.choice(vocabulary.ordinary_ids[starts_word], size=len(pieces))
    return TokenSplit(
        ids=ids.astype(np.uint16),
        sentence_offsets=word_offsets[_offsets(words)],
        document_offsets=_offsets(sentences),
    )


def _offsets(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
