"""A BERT as an ELECTRA: the bodies are the same where embedding_size is hidden_size, the names differ."""

from collections.abc import Collection

from transformers import ElectraConfig, PreTrainedConfig, PreTrainedModel

from encoders.config import EncoderError
from encoders.encoder import Heads
from encoders.families import ElectraEncoder

_SIZES = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act"),
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size"),
    *("initializer_range", "layer_norm_eps", "pad_token_id"),
)
_NAMES = {
    "bert.": "electra.",
    "cls.predictions.transform.dense.": "generator_predictions.dense.",
    "cls.predictions.transform.LayerNorm.": "generator_predictions.LayerNorm.",
    "cls.predictions.": "generator_lm_head.",
    "cls.predictions.decoder.": "generator_lm_head.",
}
"""The longest prefix that fits decides."""


def electra_config_of_bert(bert: PreTrainedConfig) -> ElectraConfig:
    """The configuration of an ELECTRA with a BERT's body.

    Raises:
        EncoderError: a BERT with another activation in its head than ELECTRA's, or an output layer of its own.
    """
    if not bert.tie_word_embeddings:
        raise EncoderError(
            "the BERT has an output layer of its own, expected one that is tied to the word table, as an ELECTRA's is. "
            "Start from another folder."
        )
    sizes = {name: getattr(bert, name) for name in _SIZES}
    if sizes["hidden_act"] != "gelu":
        raise EncoderError(
            f"the BERT has the activation {sizes['hidden_act']}, expected gelu, which is ELECTRA's. "
            "Start from another folder."
        )
    return ElectraConfig(**sizes, embedding_size=bert.hidden_size, use_cache=False)


def electra_of_bert(
    bert: PreTrainedModel, *, fresh: Collection[str], heads: Heads, attention: str
) -> tuple[PreTrainedModel, list[str]]:
    """An ELECTRA with the weights of a BertForMaskedLM, and the names of those that it lacks, which are fresh.

    Its masked-language-modelling head is BERT's, which is of the same form.

    Args:
        fresh: names of the BERT's weights that were never trained, and are not taken.

    Raises:
        EncoderError: as electra_config_of_bert.
    """
    config = electra_config_of_bert(bert.config)
    model = ElectraEncoder.model_classes[heads]._from_config(config, attn_implementation=attention)
    wanted, untrained = model.state_dict(), {_renamed(name) for name in fresh}
    state = {
        renamed: value
        for name, value in bert.state_dict().items()
        if (renamed := _renamed(name)) in wanted and renamed not in untrained
    }
    missing, _ = model.load_state_dict(state, strict=False)
    model.tie_weights()
    return model, sorted(missing)


def _renamed(name: str) -> str:
    prefix = max((prefix for prefix in _NAMES if name.startswith(prefix)), key=len)
    return _NAMES[prefix] + name.removeprefix(prefix)
