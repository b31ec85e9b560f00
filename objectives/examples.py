"""The cuttings that a recipe can name: how a TokenStore becomes the examples of an epoch."""

from pydantic import BaseModel

from objectives.packed import Packed
from objectives.sentence_order import SentenceOrder
from objectives.sentence_pairs import SentencePairs

EXAMPLES: dict[str, type[BaseModel]] = {
    "packed": Packed,
    "sentence_order": SentenceOrder,
    "sentence_pairs": SentencePairs,
}
