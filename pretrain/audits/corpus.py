"""Figures of an audit that need no examples: the corpus, the held-out part of it, and how the vocabulary fits it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from objectives.rows import Ints
from pretrain.audits.figure import (
    Figure,
    Lengths,
    Section,
    Verdict,
    at_least,
    at_most,
    doubling,
    judged,
    share,
    told,
    up_to,
)
from pretrain.audits.overlap import NGRAM, Overlap
from tokenization.store import TokenSplit, TokenStore
from tokenization.vocabulary import Vocabulary

# Corpus
DUPLICATE_DOCUMENTS = (0.01, 0.10)
"""Look, wrong. Lee et al. 2022 (https://arxiv.org/abs/2107.06499), table 2: near-duplicates are 0.4 % of Wikipedia, 3 %
of C4, 5 % of LM1B and 14 % of RealNews; models of the deduplicated corpora were better and repeated less by heart."""
DUPLICATE_LINES = (0.10, 0.50)
"""Look, wrong. Headings and one-word dialogue repeat in any book; a corpus of which half repeats is boilerplate (Wenzek
et al. 2020, https://arxiv.org/abs/1911.00359, section 3.1, dropped 70 % of the web's lines as such)."""
SKIPPED = (0.0, 0.10)
"""Look, wrong; places for each document. Any is worth a look; a tenth is a mistake in how the corpus is read."""
ONE_SENTENCE_DOCUMENTS = 0.5
"""Look. Where most documents are one sentence, a line was taken for a document or a paragraph for a sentence."""
IN_LONG_SENTENCES = 0.10
"""Look; share of the tokens in sentences longer than LONG_SENTENCE tokens. Prose has up to 0.8 % (measured)."""
LONG_SENTENCE = 512
SHORT_DOCUMENT = 0.25
"""Look if the median document is a smaller part of a row: the context that long rows are paid for is not there."""

# Held out
FEWEST_HELD_OUT_TOKENS = 50_000
"""Look below. At 15 % that is 7,500 targets; with losses that spread by 3 nats the mean is known to 0.03 nats."""
SHARED_DOCUMENTS = (0.0, 0.01)
"""Look, wrong; share of held-out documents that stand in the training text, exactly or by 80 % of their tokens."""
SHARED_TOKENS = (0.01, 0.10)
"""Look, wrong; share of held-out tokens in shared n-grams. Stock phrases alone make 0.3 to 0.6 % in novels, news and
state papers (measured); at a tenth the held-out loss is no longer about new text."""
TOUCHED_DOCUMENTS = 0.5
"""Look. A document of thousands of tokens shares some stock phrase by itself (12 to 31 % of documents, measured)."""
_CONTAINED = 0.8  # Llama 2, appendix A.6: a text is dirty from there on

# Vocabulary
UNKNOWN = (0.001, 0.01)
"""Look, wrong. What is unknown is never a target; a word in a hundred lost is a vocabulary of another language."""
PIECES_PER_WORD = 2.5
"""Look. English with 8,192 pieces of its own has 1.3 to 1.45 (measured); words are counted by white space, so
that punctuation adds to them. Far more means that the vocabulary is of another language."""
BYTES_PER_TOKEN = 2.0
"""Look below. English WordPiece has about 4; at 2 a row holds half the text that it could."""
UNUSED_VOCABULARY = 0.05
"""Look. These rows of the embedding are never trained but as replacements."""
_UNSPACED = frozenset(("zh", "ja", "th", "lo", "km", "my", "bo", "yue", "wuu", "dz"))  # no white space between words

_TOKENS_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True)
class SplitTally:
    """What one pass over the arrays of a split counts."""

    ids: Ints
    """(V,) how often each id occurs."""
    num_foreign: int
    """Ids beyond the vocabulary."""
    documents: Lengths
    sentences: Lengths
    num_one_sentence: int
    """Documents of one sentence."""


def tally(split: TokenSplit, vocabulary: Vocabulary) -> SplitTally:
    """Count a split piece by piece; memory does not grow with it."""
    counts = np.zeros(vocabulary.size, dtype=np.int64)
    num_foreign = num_one_sentence = 0
    for start in range(0, split.num_tokens, _TOKENS_AT_ONCE):
        here = np.bincount(split.ids[start : start + _TOKENS_AT_ONCE], minlength=vocabulary.size)
        counts += here[: vocabulary.size]
        num_foreign += int(here[vocabulary.size :].sum())
    documents, sentences = Lengths(), Lengths()
    for start in range(0, split.num_sentences, _TOKENS_AT_ONCE):
        sentences.add(np.diff(split.sentence_offsets[start : start + _TOKENS_AT_ONCE + 1]))
    for start in range(0, split.num_documents, _TOKENS_AT_ONCE):
        bounds = np.asarray(split.document_offsets[start : start + _TOKENS_AT_ONCE + 1])
        documents.add(np.diff(split.sentence_offsets[bounds]))
        num_one_sentence += int((np.diff(bounds) == 1).sum())
    return SplitTally(counts, num_foreign, documents, sentences, num_one_sentence)


def corpus_section(store: TokenStore, train: SplitTally, *, max_seq_length: int) -> Section:
    """Size and shape of the training text, and what is in it twice."""
    counts, survey = store.manifest["counts"]["train"], store.manifest["survey"]
    skipped = store.manifest["skipped"]
    num_skipped, num_documents = sum(skipped.values()), survey["documents"]
    return Section(
        "corpus",
        (
            told("documents", counts["documents"], n=counts["documents"], unit="documents", reason="to train on"),
            told("sentences", counts["sentences"], n=counts["sentences"], unit="sentences", reason="to train on"),
            told("tokens", counts["tokens"], n=counts["tokens"], unit="tokens", reason="to train on"),
            _document_lengths(train, max_seq_length),
            _sentence_lengths(train),
            judged(
                "one_sentence_documents",
                alone := share(train.num_one_sentence, train.documents.total),
                at_most(alone, look=ONE_SENTENCE_DOCUMENTS),
                n=train.documents.total,
                unit="share",
                fine=f"of the documents; {up_to(ONE_SENTENCE_DOCUMENTS)}",
                problem="most documents are a single sentence",
                remedy="See pretrain.inspect whether lines were taken for documents, or corpus.language is another",
            ),
            judged(
                "duplicate_documents",
                twice := share(documents := _left(survey, "duplicate", "documents"), survey["documents"]),
                at_most(twice, look=DUPLICATE_DOCUMENTS[0], wrong=DUPLICATE_DOCUMENTS[1]),
                n=survey["documents"],
                unit="share",
                fine=f"repeat an earlier one; {up_to(DUPLICATE_DOCUMENTS[0])}",
                problem=f"of the documents ({documents:,}) repeat an earlier one: learnt by heart",
                remedy="Set corpus.duplicate_documents: drop",
            ),
            judged(
                "duplicate_lines",
                lines := share(num_lines := _left(survey, "duplicate", "lines"), survey["lines"]),
                at_most(lines, look=DUPLICATE_LINES[0], wrong=DUPLICATE_LINES[1]),
                n=survey["lines"],
                unit="share",
                fine=f"repeat an earlier one; {up_to(DUPLICATE_LINES[0])}",
                problem=f"of the lines ({num_lines:,}) repeat an earlier one, as menus and licences do",
                remedy="Set corpus.duplicate_lines: drop",
            ),
            judged(
                "skipped_places",
                skipped,
                at_most(share(num_skipped, num_documents), look=SKIPPED[0], wrong=SKIPPED[1]),
                n=num_skipped + num_documents,
                unit="places",
                fine="all could be read",
                problem=f"left out {_listed(skipped)}",
                remedy="Mend these places of the corpus, or corpus.text_field; corpus.on_error: stop names the first",
            ),
            judged(
                "special_token_documents",
                named := share(survey["special_token_documents"], survey["documents"]),
                at_most(named, look=0.0),
                n=survey["documents"],
                unit="share",
                fine="no text names one, such as [MASK]",
                problem=f"of the documents ({survey['special_token_documents']:,}) name one, such as [MASK], which was "
                "read as plain letters",
                remedy="If the text was prepared for another kit, give the text before that",
            ),
        ),
    )


def held_out_section(store: TokenStore, overlap: Overlap | None) -> Section:
    """What is evaluated on, and how much of it stands in the training text; no overlap where nothing is held out."""
    counts, survey = store.manifest["counts"]["held_out"], store.manifest["survey"]
    size = judged(
        "held_out_tokens",
        counts["tokens"],
        at_least(counts["tokens"], look=FEWEST_HELD_OUT_TOKENS),
        n=counts["documents"],
        unit="tokens",
        fine=f"in {counts['documents']:,} documents; ok from {FEWEST_HELD_OUT_TOKENS:,}",
        problem="nothing is held out" if overlap is None else "too few to tell losses apart that differ by 0.03 nats",
        remedy="Raise corpus.held_out",
    )
    if overlap is None:
        return Section("held out", (size,))
    contained = overlap.num_shared >= _CONTAINED * overlap.num_tokens
    looked_at, tokens = len(overlap.num_tokens), int(overlap.num_tokens.sum())
    sample = "" if looked_at == overlap.num_documents else f" (a draw of {looked_at:,} of {overlap.num_documents:,})"
    apart = "Take them out of corpus.files, or hold other documents out"
    return Section(
        "held out",
        (
            size,
            judged(
                "shared_documents",
                same := share(num_shared := _left(survey, "shared", "documents"), counts["documents"]),
                at_most(same, look=SHARED_DOCUMENTS[0], wrong=SHARED_DOCUMENTS[1]),
                n=counts["documents"],
                unit="share",
                fine="none is trained on as well",
                problem=f"of the held-out documents ({num_shared:,}) are trained on as well",
                remedy=apart,
            ),
            judged(
                "contained_documents",
                dirty := share(contained.sum(), looked_at),
                at_most(dirty, look=SHARED_DOCUMENTS[0], wrong=SHARED_DOCUMENTS[1]),
                n=looked_at,
                unit="share",
                fine=f"none has 80 % in shared {NGRAM}-grams{sample}",
                problem=f"of the held-out documents ({contained.sum():,}) have 80 % of their tokens in {NGRAM}-grams "
                f"of the training text{sample}: copies with small changes",
                remedy=apart,
            ),
            judged(
                "shared_tokens",
                known := share(overlap.num_shared.sum(), tokens),
                at_most(known, look=SHARED_TOKENS[0], wrong=SHARED_TOKENS[1]),
                n=tokens,
                unit="share",
                fine=f"in shared {NGRAM}-grams; {up_to(SHARED_TOKENS[0])}{sample}",
                problem=f"of the held-out tokens stand in {NGRAM}-grams of the training text{sample}, so the held-out "
                "loss is better than on new text",
                remedy="Set corpus.duplicate_lines: drop, or hold out documents of another source",
            ),
            judged(
                "touched_documents",
                touched := share(overlap.is_touched.sum(), looked_at),
                at_most(touched, look=TOUCHED_DOCUMENTS),
                n=looked_at,
                unit="share",
                fine=f"with any shared one; {up_to(TOUCHED_DOCUMENTS)}{sample}",
                problem=f"of the held-out documents share a {NGRAM}-gram with the training text{sample}",
                remedy="Judge by shared_tokens how much it is: long documents share stock phrases, copies share it all",
            ),
        ),
    )


def vocabulary_section(store: TokenStore, train: SplitTally, held_out: SplitTally, *, language: str) -> Section:
    """How well the tokenizer fits the text, on held-out text where there is any."""
    vocabulary = store.vocabulary
    named = "held_out" if store.manifest["counts"]["held_out"]["tokens"] else "train"
    counts = store.manifest["counts"][named]
    where = "on held-out text" if named == "held_out" else "on training text"
    is_leak = vocabulary.is_special.copy()
    is_leak[vocabulary.unk_id] = False
    num_leaks = int((train.ids + held_out.ids)[is_leak].sum()) + train.num_foreign + held_out.num_foreign
    num_unused = int((train.ids[vocabulary.ordinary_ids] == 0).sum())
    is_spaced = language.lower().split("-")[0] not in _UNSPACED
    pieces = share(counts["tokens"], counts["words"])
    return Section(
        "vocabulary",
        (
            *(_unknown(store, split) for split in ("train", "held_out") if store.manifest["counts"][split]["tokens"]),
            judged(
                "pieces_per_word",
                pieces,
                at_most(pieces, look=PIECES_PER_WORD) if is_spaced else Verdict.OK,
                n=counts["words"],
                unit="tokens",
                fine=f"{where}; ok to {PIECES_PER_WORD:g}"
                if is_spaced
                else f"{where}; {language} has no white space between words, so it says nothing",
                problem=f"{where}: words fall into many pieces",
                remedy="Use a larger vocabulary, or one of this language",
            ),
            judged(
                "bytes_per_token",
                size := share(counts["bytes"], counts["tokens"]),
                at_least(size, look=BYTES_PER_TOKEN),
                n=counts["tokens"],
                unit="bytes",
                fine=f"{where}; ok from {BYTES_PER_TOKEN:g}",
                problem=f"{where}: tokens hold little text, so rows hold little context",
                remedy="Use a larger vocabulary, or one of this language",
            ),
            judged(
                "unused_vocabulary",
                unused := share(num_unused, len(vocabulary.ordinary_ids)),
                at_most(unused, look=UNUSED_VOCABULARY),
                n=len(vocabulary.ordinary_ids),
                unit="share",
                fine=f"{num_unused:,} never occur; {up_to(UNUSED_VOCABULARY)}",
                problem=f"of the vocabulary ({num_unused:,}) never occurs in the training text and is hardly trained",
                remedy="Train a vocabulary of this corpus, or lower tokenizer.vocab_size; a model that is gone on from "
                "keeps its own",
            ),
            judged(
                "special_ids_in_text",
                num_leaks,
                at_most(num_leaks, look=0, wrong=0),
                n=int(train.ids.sum() + held_out.ids.sum()) + train.num_foreign + held_out.num_foreign,
                unit="tokens",
                fine="none in the token store",
                problem="ids of special tokens, or beyond the vocabulary, stand in the token store, which is damaged",
                remedy=f"Delete {store.path} and prepare the corpus again",
            ),
        ),
    )


def _left(survey: dict[str, int], found: str, kind: str) -> int:
    """How many of the documents or lines that were found are still there: where repeats are dropped none is."""
    return max(0, survey[f"{found}_{kind}"] - survey[f"dropped_{kind}"])


def _unknown(store: TokenStore, split: str) -> Figure:
    counts = store.manifest["counts"][split]
    ratio = share(counts["unknown"], counts["tokens"])
    return judged(
        "unknown" if split == "train" else "held_out_unknown",
        ratio,
        at_most(ratio, look=UNKNOWN[0], wrong=UNKNOWN[1]),
        n=counts["tokens"],
        unit="share",
        fine=f"of the tokens; {up_to(UNKNOWN[0])}",
        problem=f"of the tokens ({counts['unknown']:,}) are [UNK], which the vocabulary cannot spell and the model "
        "never learns",
        remedy="Raise tokenizer.limit_alphabet or choose a byte-level vocabulary",
    )


def _document_lengths(train: SplitTally, max_seq_length: int) -> Figure:
    lengths = train.documents
    median = lengths.quantile(0.5)
    return judged(
        "document_lengths",
        lengths.value(doubling(len(lengths.counts) - 1)),
        at_least(median, look=SHORT_DOCUMENT * max_seq_length),
        n=lengths.total,
        unit="tokens",
        fine=_quantiles(lengths),
        problem=f"half of the documents have {median} tokens or fewer, a small part of a row of {max_seq_length}",
        remedy="Lower examples.max_seq_length, or give longer documents",
    )


def _sentence_lengths(train: SplitTally) -> Figure:
    lengths = train.sentences
    beyond = share(lengths.tokens_beyond(LONG_SENTENCE), int(train.ids.sum()))
    return judged(
        "sentence_lengths",
        lengths.value(doubling(len(lengths.counts) - 1)),
        at_most(beyond, look=IN_LONG_SENTENCES),
        n=lengths.total,
        unit="tokens",
        fine=_quantiles(lengths),
        problem=f"{100 * beyond:.0f} % of the tokens are in sentences of more than {LONG_SENTENCE}: sentences were not "
        "found",
        remedy="Check corpus.language and whether the text has punctuation",
    )


def _quantiles(lengths: Lengths) -> str:
    value: dict[str, Any] = lengths.value([0])
    return f"90 % in {value['p5']:,}-{value['p95']:,}, most {value['max']:,}"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} x {reason}" for reason, count in sorted(counts.items(), key=lambda item: -item[1]))
