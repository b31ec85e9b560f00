"""The cuttings that a recipe can name: how a TokenStore becomes the examples of an epoch."""

from pydantic import BaseModel

from objectives.cutting.documents import Documents
from objectives.cutting.packed import Packed
from objectives.cutting.segments import Segments
from objectives.cutting.sentence_order import SentenceOrder
from objectives.cutting.sentence_pairs import SentencePairs

EXAMPLES: dict[str, type[BaseModel]] = {
    "documents": Documents,
    "packed": Packed,
    "segments": Segments,
    "sentence_order": SentenceOrder,
    "sentence_pairs": SentencePairs,
}
