"""Static word vectors: learnt from a corpus, read from files or taken from encoders, and scored beside each other.

Scored are analogies, agreement with people's judgements of similarity, neighbours of words, and cosines within and
between categories. Of an encoder its table of input embeddings is asked (probes.static.encoder_words).
"""

import hashlib
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probes.models import Model
from probes.numbers import whole_from_1
from probes.probe import Inquiry, Probe
from probes.probe_error import ProbeError
from probes.results import ModelCard, Results
from probes.vectors.word_vectors import WordVectors

if TYPE_CHECKING:
    from probes.static.subject import Asked
    from probes.static.training import Trained, Training

QUESTION = "How much do static word vectors know of what words mean, of how they inflect and of which belong together?"


def add_arguments(parser: ArgumentParser) -> None:
    learning = parser.add_argument_group("learning vectors")
    learning.add_argument("--corpus", nargs="+", metavar="FILE", help="text, files, folders or globs")
    learning.add_argument("--labelled", type=Path, metavar="FILE", help=".csv or .jsonl of texts with labels")
    learning.add_argument(
        "--methods", type=_methods, metavar="M,M", help="of svd,cbow,skipgram,fasttext,labels [all that have text]"
    )
    learning.add_argument("--text-field", default="text", metavar="NAME", help="of both kinds of text [text]")
    learning.add_argument("--label-field", default="label", metavar="NAME", help="[label]")
    learning.add_argument("--dimension", type=whole_from_1, default=100, metavar="N", help="[100]")
    learning.add_argument("--window", type=whole_from_1, default=5, metavar="N", help="words on either side [5]")
    learning.add_argument("--min-count", type=whole_from_1, default=5, metavar="N", help="rarer words are left out [5]")
    learning.add_argument("--epochs", type=whole_from_1, default=5, metavar="N", help="rounds through the text [5]")
    scoring = parser.add_argument_group("scoring")
    scoring.add_argument("--analogies", type=Path, metavar="FILE", help="[questions-words.txt as gensim ships it]")
    scoring.add_argument(
        "--similarity", nargs="+", type=Path, metavar="FILE", help="[SimLex-999 and WordSim-353 as gensim ships them]"
    )
    scoring.add_argument("--categories", type=Path, metavar="FILE", help="lines of word, tab, category [a small list]")
    scoring.add_argument("--word", action="append", default=[], metavar="WORD", help="show its neighbours; repeatable")
    scoring.add_argument("--neighbours", type=whole_from_1, default=10, metavar="N", help="shown of each word [10]")
    scoring.add_argument(
        "--most-frequent", type=_count_or_all, default=30_000, metavar="N|all",
        help="words of each table that analogies, neighbours and categories are about [30000]",
    )  # fmt: skip


def examine(inquiry: Inquiry, **options: Any) -> Results:
    """Learn what is to be learnt, ask every table, and put the figures beside each other."""
    from probes.static import showing
    from probes.static.scores import analogy_scores, category_scores, similarity_scores
    from probes.static.subject import ask
    from probes.static.training import Training

    training = Training(**{one.name: options.pop(one.name) for one in fields(Training)})
    _check(inquiry, training)
    asked, data = _asked(**options)
    cards, subjects, learnt = [], [], []
    for card, vectors, trained in _tables(inquiry, training):
        cards.append(card)
        subjects.append(ask(card.name, vectors, asked, seed=inquiry.seed))
        learnt += [trained] if trained else []
    scores = [
        *analogy_scores(subjects, asked.questions, seed=inquiry.seed),
        *similarity_scores(subjects, asked.similarities),
        *category_scores(subjects, seed=inquiry.seed),
    ]
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(training).items()}
    return Results(
        probe="static",
        question=QUESTION,
        answer=showing.answers(subjects, scores, asked.similarities),
        models=cards,
        measures=showing.measures(asked.similarities),
        headlines=showing.headlines(scores),
        scores=scores,
        tables=showing.tables(subjects, learnt),
        pictures=showing.draw_pictures(inquiry, subjects),
        notes=showing.notes(asked, subjects),
        data={**data, **(learnt[-1].data if learnt else {})},
        settings={"seed": inquiry.seed, "most_frequent": asked.most_frequent, **settings},
    )


def _check(inquiry: Inquiry, training: "Training") -> None:
    inquiry.refuse_layers("static asks vectors that no layer has touched")
    if not inquiry.models and not training.chosen():
        raise ProbeError(
            "got neither a MODEL nor text to learn from, expected one of them at least. Name a file of word vectors, an"
            " encoder, or --corpus FILE or --labelled FILE."
        )


def _asked(
    *, analogies: Path | None, similarity: list[Path] | None, categories: Path | None, word: list[str],
    neighbours: int, most_frequent: int | None,
) -> tuple["Asked", dict[str, Any]]:  # fmt: skip
    """The questions, and what stands of their files in the results."""
    from probes.static.analogies import read_analogies
    from probes.static.categories import built_in_categories, read_categories
    from probes.static.similarity import read_similarities
    from probes.static.subject import Asked

    if any(not one.strip() for one in word):
        raise ProbeError("--word: got an empty word, expected one whose neighbours are to be shown. Name it.")
    analogies = analogies or _shipped("questions-words.txt")
    pairs = similarity or [_shipped("simlex999.txt"), _shipped("wordsim353.tsv")]
    asked = Asked(
        questions=read_analogies(analogies),
        similarities=[read_similarities(path) for path in pairs],
        words=list(dict.fromkeys(one.strip() for one in word)),
        num_neighbours=neighbours,
        categories=built_in_categories() if categories is None else read_categories(categories),
        most_frequent=most_frequent,
    )
    names = [one.name for one in asked.similarities]
    if len(set(names)) < len(names):
        raise ProbeError(
            f"--similarity: got files of equal names ({', '.join(names)}), expected different ones. Rename."
        )
    data: dict[str, Any] = {"analogies": {**_file(analogies), "n": len(asked.questions)}}
    for path, one in zip(pairs, asked.similarities, strict=True):
        data[one.name] = {**_file(path), "n": len(one.pairs)}
    data["categories"] = _file(categories) if categories else {"file": "built in"}
    data["categories"]["n"] = sum(len(one.words) for one in asked.categories)
    return asked, data


def _shipped(name: str) -> Path:
    """A file of those that gensim brings along."""
    from gensim.test.utils import datapath

    return Path(datapath(name))


def _file(path: Path) -> dict[str, Any]:
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _tables(inquiry: Inquiry, training: "Training") -> Iterator[tuple[ModelCard, WordVectors, "Trained | None"]]:
    """The table of every model that was named, then of every one that is learnt; one is held at a time."""
    from probes.static.encoder_words import word_table
    from probes.static.training import learn

    for model in inquiry.models:
        source = model.open()
        yield model.card(source), word_table(source), None
    taken = {model.name for model in inquiry.models}
    for vectors, trained in learn(training, inquiry.out, seed=inquiry.seed):
        # A file that an earlier call wrote may be named beside those that this one learns.
        name = trained.method if trained.method not in taken else f"{trained.method}, learnt"
        yield Model(name, str(trained.path)).card(vectors), vectors, trained


def _methods(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",")))


def _count_or_all(text: str) -> int | None:
    return None if text == "all" else whole_from_1(text)


PROBE = Probe(
    summary="word vectors learnt from a corpus or read from files: analogies, similarity, neighbours, categories",
    add_arguments=add_arguments,
    examine=examine,
    num_models="*",
)
