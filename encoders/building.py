"""An encoder with fresh weights."""

import copy

from transformers import PreTrainedConfig, PreTrainedModel

from encoders.config import EncoderError
from encoders.encoder import Encoder, Heads, SentenceHead
from encoders.families import FAMILIES


def build_encoder(config: PreTrainedConfig, *, heads: Heads, attention: str) -> Encoder:
    """An encoder with fresh weights, drawn from torch's default generator.

    Args:
        heads: what it will be asked.
        attention: transformers' attention implementation, see encoders.attention.attention_kernel.

    Raises:
        EncoderError: a configuration of another family, or one that has no such heads.
    """
    family, model_class = find_class(config, heads, "the recipe")
    model = model_class._from_config(fit_config(config, heads), attn_implementation=attention)
    return family(model, SentenceHead(config) if heads == "sentence_pairs" and family.lacks_sentence_head else None)


def fit_config(config: PreTrainedConfig, heads: Heads) -> PreTrainedConfig:
    """The configuration with one label, replaced, where a class for token labels is to tell replaced tokens.

    ElectraForPreTraining reads no labels, so an ELECTRA keeps those that a classifier made of it would have.
    """
    if heads == "replaced_tokens" and config.model_type == "modernbert":
        config = copy.deepcopy(config)
        config.id2label, config.label2id = {0: "replaced"}, {"replaced": 0}
    return config


def find_class(config: PreTrainedConfig, heads: Heads, where: str) -> tuple[type[Encoder], type[PreTrainedModel]]:
    """The family of a configuration, and its transformers class with these heads.

    Raises:
        EncoderError: there is none; `where` says whose configuration it is.
    """
    family = FAMILIES.get(config.model_type)
    if family is None:
        *names, last = FAMILIES
        raise EncoderError(
            f"{where} holds a {config.model_type} model; expected {', '.join(names)} or {last}. "
            "Use a folder of one of these families."
        )
    if heads not in family.model_classes:
        able = [name for name, other in FAMILIES.items() if heads in other.model_classes]
        raise EncoderError(
            f"{where} holds a {config.model_type} model, which has no head for {heads.replace('_', ' ')}; "
            f"expected {' or '.join(able)}. A BERT body is encoder.name electra with embedding_size = hidden_size."
        )
    return family, family.model_classes[heads]
