"""Tiny models for the tests of the probes: a WordPiece tokenizer of whole words, and untrained encoders on disk."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModel,
    BertConfig,
    ElectraConfig,
    ModernBertConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
)

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
MOST_TOKENS = 24

Row = tuple[str, str, str]
"""word, sentence, sense"""


def table(num_each: int = 4, words: Sequence[str] = ("bank", "bat")) -> list[Row]:
    """Rows of two senses a word, `num_each` sentences a sense, all different and of differing length."""
    rows = []
    for word in words:
        for sense in ("one", "two"):
            for i in range(num_each):
                rows.append((word, f"{'so ' * (i % 3)}the {word} {sense} number n{i} is here", f"{word}-{sense}"))
    return rows


def write_table(path: Path, rows: Iterable[Sequence[str]], header: str = "word\tsentence\tsense") -> Path:
    path.write_text("\n".join([header, *("\t".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return path


def tokenizer(with_segments: bool) -> PreTrainedTokenizerFast:
    """Lower-case WordPiece: the words of `table` and every letter and digit, so that nothing is unknown."""
    words = ["the", "so", "bank", "number", "is", "here", "one", "two", "n"]
    letters = [chr(c) for c in range(97, 123)] + [str(d) for d in range(10)]
    names = dict.fromkeys([*SPECIAL, *words, *letters, *(f"##{one}" for one in letters), ".", "<", ">", "/"])
    inner = Tokenizer(models.WordPiece(vocab={name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names_of_inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=names_of_inputs if with_segments else ["input_ids", "attention_mask"],
    )


def config(kind: str) -> PreTrainedConfig:
    """Two or three layers of 16 and MOST_TOKENS positions; ELECTRA's embeddings are narrower than its layers."""
    size = {
        "vocab_size": 120,
        "hidden_size": 16,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": MOST_TOKENS,
        "pad_token_id": 0,
    }
    if kind == "modernbert":
        ids = {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
        return ModernBertConfig(**size, **ids, num_hidden_layers=3, local_attention=8)
    if kind == "roberta":
        return RobertaConfig(**{**size, "max_position_embeddings": MOST_TOKENS + 1}, num_hidden_layers=2)
    if kind == "electra":
        return ElectraConfig(**size, embedding_size=8, num_hidden_layers=2)
    return BertConfig(**size, num_hidden_layers=2)


def save_model(folder: Path, kind: str = "bert", *, seed: int = 3) -> Path:
    """An untrained encoder with its tokenizer, as save_pretrained writes it; torch's generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModel.from_config(config(kind))
        # Larger weights than the usual start, so that layers and sentences differ clearly.
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tokenizer(with_segments=kind in ("bert", "electra")).save_pretrained(folder)
    return folder
