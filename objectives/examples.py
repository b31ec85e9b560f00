"""The cuttings that a recipe can name: how a TokenStore becomes the examples of an epoch."""

from pydantic import BaseModel

from objectives.documents import Documents
from objectives.packed import Packed
from objectives.segments import Segments
from objectives.sentence_order import SentenceOrder
from objectives.sentence_pairs import SentencePairs

EXAMPLES: dict[str, type[BaseModel]] = {
    "documents": Documents,
    "packed": Packed,
    "segments": Segments,
    "sentence_order": SentenceOrder,
    "sentence_pairs": SentencePairs,
}
