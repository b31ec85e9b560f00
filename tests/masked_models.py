"""Tiny masked language models for the tests of the probes that ask them."""

from pathlib import Path

import torch
from transformers import AutoModelForMaskedLM, PreTrainedTokenizerFast

from tests.probe_models import config, tokenizer

KINDS = ("bert", "electra", "roberta", "modernbert")
"""All that probe_models.config has; electra is a generator here."""


def masking_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """That of probe_models with a mask token: <mask> for roberta, as there, else [MASK]."""
    made = tokenizer(with_segments=kind in ("bert", "electra"))
    made.add_special_tokens({"mask_token": "<mask>" if kind == "roberta" else "[MASK]"})
    return made


def save_masked_lm(folder: Path, kind: str = "bert", *, seed: int = 3) -> Path:
    """An untrained model with its head and tokenizer; torch's generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForMaskedLM.from_config(config(kind))
        # Larger weights than the usual start, so that tokens differ clearly.
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    masking_tokenizer(kind).save_pretrained(folder)
    return folder
