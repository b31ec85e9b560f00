"""Whether an ELECTRA lives: what its figures say when it does not, and the likely reason."""

from collections.abc import Mapping

_NEAR = 0.05  # nats: a generator this near to what the frequencies of words give has learnt no context
_FEWEST_REPLACED = 0.15
_FEWEST_FOUND = 0.02
_LEAST_AUC = 0.55


def complaints(figures: Mapping[str, float | int | None], *, unigram_nats: float) -> dict[str, str]:
    """What is wrong, by a short name; nothing while all is well.

    Args:
        figures: a line of metrics of training, well after the warm-up.
        unigram_nats: the generator's loss if it only knew how often words occur, and copied what is not hidden.
    """
    found = {}
    generator, replaced = figures.get("loss/generator_nats"), figures.get("replaced_ratio")
    recall, auc = figures.get("recall/discriminator"), figures.get("auc/discriminator")
    if generator is not None and generator > unigram_nats - _NEAR:
        found["dead generator"] = (
            f"the generator's loss is {generator:.2f} nats, no better than how often words occur ({unigram_nats:.2f}): "
            "what it puts in is random, and easy to tell. It may need a higher optimizer.learning_rate, more steps (a "
            "post-norm body stays here for long; a ModernBERT does not), or a larger objective.generator_fraction"
        )
    if replaced is not None and replaced < _FEWEST_REPLACED:
        found["few replaced tokens"] = (
            f"only {replaced:.1%} of the masked tokens are really replaced, as the generator guesses the others: the "
            "discriminator has little to find. Lower objective.generator_fraction, raise objective.temperature, or "
            "check the corpus for texts that repeat"
        )
    if auc is not None and auc < _LEAST_AUC:
        found["blind discriminator"] = (
            f"the discriminator tells replaced tokens from others no better than chance (AUC {auc:.2f}). Lower "
            "optimizer.learning_rate, or lengthen schedule.warmup_steps"
        )
    elif recall is not None and recall < _FEWEST_FOUND:
        found["all original"] = (
            f"the discriminator calls nearly every token original (it finds {recall:.1%} of the replaced ones). Give "
            "it time, raise objective.discriminator_weight, or lower optimizer.learning_rate if it stays so"
        )
    return found
