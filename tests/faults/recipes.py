"""The run that is hurt, by objective: some seconds of training in several epochs, dropout on, with many saves."""

STEPS = 48
SAVES = 4
"""Steps between two checkpoints."""
EVALUATIONS = 6
"""Steps between two evaluations."""

_SIZES = (
    "num_hidden_layers: 2, hidden_size: 128, num_attention_heads: 2, intermediate_size: 256, "
    "max_position_embeddings: 64, hidden_dropout_prob: 0.1, attention_probs_dropout_prob: 0.1"
)
_BERT = f"encoder={{name: bert, {_SIZES}}}"
_PACKED = "examples={name: packed, max_seq_length: 32}"

SMALL: dict[str, tuple[str, ...]] = {
    "mlm": (_BERT, _PACKED, "objective={name: mlm}"),
    "mlm_nsp": (_BERT, "examples={name: sentence_pairs, max_seq_length: 32}", "objective={name: mlm_nsp}"),
    "mlm_sop": (_BERT, "examples={name: sentence_order, max_seq_length: 32}", "objective={name: mlm_sop}"),
    "replaced_token_detection": (
        f"encoder={{name: electra, embedding_size: 64, {_SIZES}}}",
        _PACKED,
        "masking={name: token, mask_replace_prob: 0.85, random_replace_prob: 0.0}",
        "objective={name: replaced_token_detection, generator_fraction: 0.5}",
    ),
}
"""Overrides of the tests' tiny recipe, for every entry of OBJECTIVES."""

OFTEN = (
    f"train.steps={STEPS}",
    "log.every_steps=1",
    f"evaluate.every_steps={EVALUATIONS}",
    f"checkpoint.every_steps={SAVES}",
)


def overrides(objective: str) -> tuple[str, ...]:
    """What makes the tiny recipe the run of an objective that the faults happen to."""
    return (*SMALL[objective], *OFTEN)
