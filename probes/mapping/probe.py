"""The entry of the map probe: its options, and which of its three questions they ask."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any, get_args

from probes.probe import Inquiry, Probe
from probes.probe_error import ProbeError
from probes.reading.labelled_texts import add_fields
from probes.results import Results
from probes.source import Pooling


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options of `python -m probes map`."""
    sentences = parser.add_argument_group("tokens of sentences")
    sentences.add_argument("--sentence", action="append", default=[], metavar="TEXT", help="one; may be repeated")
    sentences.add_argument("--paragraph", action="append", default=[], metavar="TEXT", help="split into sentences")
    sentences.add_argument(
        "--file", type=Path, metavar="FILE.txt", help="a sentence a line; a single line is split into sentences"
    )
    sentences.add_argument("--word", metavar="WORD", help="compare this word across the sentences [all tokens]")
    others = parser.add_argument_group("instead of sentences")
    others.add_argument("--texts", type=Path, metavar="FILE", help="texts of classes: .csv or .jsonl")
    add_fields(others)
    others.add_argument("--pooling", choices=get_args(Pooling), default="mean", help="of a text: its vector [mean]")
    others.add_argument("--vocabulary", metavar="WORD", help="its nearest and farthest words among input embeddings")


def examine(
    inquiry: Inquiry,
    *,
    sentence: list[str],
    paragraph: list[str],
    file: Path | None,
    word: str | None,
    texts: Path | None,
    label_field: str,
    text_field: list[str],
    pooling: Pooling,
    vocabulary: str | None,
) -> Results:
    """Map tokens, texts or the vocabulary, whichever was given.

    Raises:
        ProbeError: none of them or several, or input that cannot be used.
    """
    running: list[Any] = [*sentence, *paragraph, *([file] if file else [])]
    given = {
        "--sentence, --paragraph or --file": bool(running),
        "--texts": texts is not None,
        "--vocabulary": vocabulary is not None,
    }
    named = [name for name, is_given in given.items() if is_given]
    if word is not None and not running:
        named.append("--word")
    if len(named) != 1 or named == ["--word"]:
        got = " and ".join(named) if named else "nothing to map"
        raise ProbeError(
            f"map: got {got}, expected one of: sentences (--sentence, --paragraph, --file; with --word or without),"
            " --texts, --vocabulary. Name one of them."
        )
    if texts is not None:
        from probes.mapping.texts import map_texts, read_classes

        labelled = read_classes(texts, label_field=label_field, text_fields=text_field)
        return map_texts(inquiry, labelled, pooling)
    if vocabulary is not None:
        from probes.mapping.vocabulary import map_vocabulary

        return map_vocabulary(inquiry, vocabulary)
    from probes.mapping.inputs import read_sentences
    from probes.mapping.tokens import map_tokens

    return map_tokens(inquiry, read_sentences(sentence, paragraph, file), word)


PROBE = Probe("where tokens, texts or words lie: PCA, t-SNE and cosines, with their baselines", add_arguments, examine)
