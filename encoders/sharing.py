"""What a generator and a discriminator share of their embeddings.

Sources: ELECTRA (Clark et al. 2020, https://arxiv.org/abs/2003.10555, section 3.2) shares all of them; DeBERTaV3 (He et
al. 2021, https://arxiv.org/abs/2111.09543, section 3.2) found that the two losses pull shared words apart, and
disentangles their gradients.
"""

from typing import Literal, cast

from torch import nn

from encoders.config import EncoderError
from encoders.embeddings import DisentangledEmbedding
from encoders.encoder import Encoder

Sharing = Literal["all", "word", "gradient_disentangled", "none"]
"""all: words, positions, segments and their norm; word: the word table, which is the generator's output layer too;
gradient_disentangled: the discriminator's words are the generator's without a gradient to them, plus a residual, and
nothing else is shared (DeBERTaV3 has neither positions nor segments to share); none."""


def share_embeddings(generator: Encoder, discriminator: Encoder, sharing: Sharing) -> None:
    """Wire the embeddings of two encoders; what they share has the discriminator's values.

    With gradient_disentangled each keeps its own: the residual is what the discriminator's table has over the
    generator's.

    Raises:
        EncoderError: embeddings of different sizes.
    """
    if sharing == "none":
        return
    theirs, ours = _tables(generator, discriminator, sharing)
    if sharing == "all":
        _check_sizes(generator.embeddings, discriminator.embeddings)
        generator.use_embeddings(discriminator.embeddings)
    elif sharing == "word":
        generator.use_word_embeddings(ours)
    else:
        residual = (ours.weight - theirs.weight).detach()
        discriminator.use_word_embeddings(DisentangledEmbedding(theirs, residual))


def share_fresh(generator: Encoder, discriminator: Encoder, sharing: Sharing) -> None:
    """Make a generator with fresh weights fit for sharing: a residual starts at zero.

    Raises:
        EncoderError: embeddings of different sizes.
    """
    if sharing == "gradient_disentangled":
        theirs, ours = _tables(generator, discriminator, sharing)
        theirs.weight.data.copy_(ours.weight)


def _tables(generator: Encoder, discriminator: Encoder, sharing: Sharing) -> tuple[nn.Embedding, nn.Embedding]:
    theirs, ours = (cast(nn.Embedding, encoder.word_embeddings) for encoder in (generator, discriminator))
    if ours.weight.shape != theirs.weight.shape:
        raise EncoderError(
            f"objective.sharing {sharing} needs two word tables of one size, got {tuple(ours.weight.shape)} for the "
            f"discriminator and {tuple(theirs.weight.shape)} for the generator. Set objective.sharing to none, or give "
            "both the same embedding size (a ModernBERT's is its hidden_size: objective.generator_fraction 1.0)."
        )
    return theirs, ours


def _check_sizes(theirs: nn.Module, ours: nn.Module) -> None:
    sizes = {name: tuple(value.shape) for name, value in theirs.named_parameters()}
    for name, value in ours.named_parameters():
        if tuple(value.shape) != sizes.get(name):
            raise EncoderError(
                f"objective.sharing all needs embeddings of one size, got {tuple(value.shape)} for the discriminator's "
                f"{name} and {sizes.get(name)} for the generator's. Set objective.sharing to word, or name another "
                "folder as objective.generator_from."
            )
