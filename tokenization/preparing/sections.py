"""Sections: the parts of a corpus that one process reads from start to end.

Small files share a section and a large one is a section of its own. The cut depends on the files' contents and sizes
alone, so whoever prepares the corpus, on however many cores or machines, makes the same sections.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tokenization.corpus import Corpus, held_out_share, is_held_out, read_documents
from tokenization.reading.documents import Document, Problems
from tokenization.reading.sources import Source, Sources

SECTION_BYTES = 4 << 20
"""A section is closed once its files have so many bytes on disk."""


@dataclass(frozen=True, slots=True)
class Section:
    """Files that are read together, in their order."""

    number: int
    sources: tuple[Source, ...]
    is_held_out: bool
    """Whether all of it is held out, by name."""

    @property
    def name(self) -> str:
        return f"{self.number:05d}"


def cut_sections(sources: Sources) -> tuple[Section, ...]:
    """The training files' sections, then those of the files that are held out by name."""
    groups = [(group, False) for group in _groups(sources.train)] + [
        (group, True) for group in _groups(sources.held_out)
    ]
    return tuple(Section(number, group, is_held_out) for number, (group, is_held_out) in enumerate(groups))


def read_section(section: Section, corpus: Corpus, problems: Problems) -> Iterator[tuple[bool, Document]]:
    """Every document of a section with whether it is held out, in the order of the files.

    Raises:
        CorpusError: at the first bad line, if `problems` is to stop at one.
    """
    share = held_out_share(corpus)
    for document in read_documents(section.sources, corpus, problems):
        yield section.is_held_out or is_held_out(document.text, share=share), document


def _groups(sources: Iterable[Source]) -> Iterator[tuple[Source, ...]]:
    group: list[Source] = []
    num_bytes = 0
    for source in sources:
        group.append(source)
        # A size that is not known, as of a part of a dataset on the hub, is taken for a large one.
        num_bytes += source.num_bytes or SECTION_BYTES
        if num_bytes >= SECTION_BYTES:
            yield tuple(group)
            group, num_bytes = [], 0
    if group:
        yield tuple(group)
