"""Laws of duplicates: the first of a content stays, a held-out one before any other, whatever memory is spent."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenization.corpus import Document, Problems
from tokenization.preparing import duplicates
from tokenization.preparing.duplicates import DocumentEntries, LineEntries, find_repeats
from tokenization.preparing.survey import Survey, survey_section, text_lines, without_lines

Corpus = list[list[tuple[bool, str]]]
"""Whether it is held out, and the text, of each document of each section."""

SECTIONS = st.lists(
    st.lists(st.tuples(st.booleans(), st.sampled_from(["a", "b\nc", "c", "d\n\nb", " c "])), max_size=6), max_size=4
)


def _surveys(sections: Corpus, factory: pytest.TempPathFactory) -> list[Survey]:
    folder = factory.mktemp("survey")
    for number, section in enumerate(sections):
        documents = [(held_out, Document(text=text, origin="here")) for held_out, text in section]
        survey_section(documents, Problems("stop"), folder / str(number))
    return [Survey(folder / str(number)) for number in range(len(sections))]


def _expected(sections: list[list[tuple[bool, str]]]) -> tuple[list[list[bool]], int]:
    """Which entries repeat an earlier one, and how many held-out ones stand in training too, entry by entry."""
    in_training = {text for section in sections for held_out, text in section if not held_out}
    seen: set[str] = set()
    marks = [[False] * len(section) for section in sections]
    for wanted in (True, False):
        for number, section in enumerate(sections):
            for place, (held_out, text) in enumerate(section):
                if held_out == wanted:
                    marks[number][place] = text in seen
                    seen.add(text)
    shared = sum(held_out and text in in_training for section in sections for held_out, text in section)
    return marks, shared


@pytest.mark.parametrize("at_once", [1, 3, 1 << 20])
@pytest.mark.parametrize("kind", ["documents", "lines"])
@given(sections=SECTIONS)
def test_repeats_are_those_of_a_plain_count(
    tmp_path_factory: pytest.TempPathFactory, kind: str, at_once: int, sections: Corpus
) -> None:
    surveys = _surveys(sections, tmp_path_factory)
    entries = [DocumentEntries(s) if kind == "documents" else LineEntries(s) for s in surveys]
    if kind == "lines":
        sections = [[(held_out, line) for held_out, text in part for line in text_lines(text)] for part in sections]
    expected, shared = _expected(sections)
    marks = [np.zeros(len(section), dtype=bool) for section in sections]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(duplicates, "_HASHES_AT_ONCE", at_once)
        found = find_repeats(entries, marks)
    assert [flags.tolist() for flags in marks] == expected
    assert found.entries == sum(len(section) for section in sections)
    assert found.repeated == sum(map(sum, expected))
    assert found.shared == shared


@given(text=st.text(alphabet="ab \n\r\t", max_size=30), data=st.data())
def test_a_line_that_is_dropped_takes_nothing_with_it(text: str, data: st.DataObject) -> None:
    lines = text_lines(text)
    drops = np.array(data.draw(st.lists(st.booleans(), min_size=len(lines), max_size=len(lines))), dtype=bool)
    kept = without_lines(text, drops)
    assert text_lines(kept) == [line for line, drop in zip(lines, drops.tolist(), strict=True) if not drop]
    if not drops.any():
        assert kept == text


def test_a_survey_holds_what_was_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    (survey,) = _surveys([[(False, "Ä one\n\n two "), (True, "three")]], tmp_path_factory)
    assert survey.document_bytes.tolist() == [13, 5]
    assert survey.document_lines.tolist() == [2, 1]
    assert survey.is_held_out.tolist() == [False, True]
    assert len(Counter(survey.line_hashes.tolist())) == survey.num_lines == 3
