"""What a recipe is made into: the token store, the objective around its encoder, a model folder that others load."""

import logging
from pathlib import Path

import torch

from encoders.attention import attention_kernel
from encoders.config import EncoderError, EncoderFolder, SpecialIds
from encoders.encoder import Encoder, build_encoder, load_encoder
from objectives.draws import Key
from objectives.objective import Objective
from pretrain.recipe import Recipe
from tokenization.cache import Engine, prepare_store
from tokenization.preparing.cores import prepare_here
from tokenization.store import TokenStore
from tokenization.vocabulary import Vocabulary, load_tokenizer

logger = logging.getLogger(__name__)


def prepared_store(recipe: Recipe, engine: Engine = prepare_here) -> TokenStore:
    """The token store of a recipe's corpus and tokenizer, made now by the engine if the cache does not have it."""
    return prepare_store(recipe.corpus, recipe.tokenizer, cache_dir=Path(recipe.cache_dir), engine=engine)


def build_objective(recipe: Recipe, store: TokenStore, *, device: torch.device) -> Objective:
    """The recipe's objective with the weights that a run starts from, on the host, as recipe and folder decide.

    Args:
        device: where it will train, which decides the attention kernel.

    Raises:
        EncoderError: the folder to start from does not fit the recipe.
    """
    torch.manual_seed(int(Key(recipe.seed, 0, "weights").word() >> 1))
    attention = attention_kernel(device, recipe.examples.max_seq_length)
    pairs = recipe.objective.needs_sentence_pairs
    if not isinstance(recipe.encoder, EncoderFolder):
        config = recipe.encoder.config(special_ids(store.vocabulary))
        return recipe.objective.build(build_encoder(config, sentence_pairs=pairs, attention=attention))
    folder = Path(recipe.encoder.from_)
    length = recipe.examples.max_seq_length
    encoder, missing = load_encoder(
        folder,
        sentence_pairs=pairs,
        attention=attention,
        num_positions=length if recipe.encoder.extend_positions else None,
    )
    check_folder(folder, encoder, store, length)
    if missing:
        logger.info("%s has no weights for %s; they start fresh", folder, ", ".join(missing))
    return recipe.objective.build(encoder)


def load_objective(recipe: Recipe, folder: Path, *, device: torch.device) -> tuple[Objective, list[str]]:
    """The recipe's objective with the weights of a model folder, and the names of weights that the folder lacks."""
    encoder, missing = load_encoder(
        folder,
        sentence_pairs=recipe.objective.needs_sentence_pairs,
        attention=attention_kernel(device, recipe.examples.max_seq_length),
    )
    return recipe.objective.build(encoder), missing


def save_model(encoder: Encoder, tokenizer_path: Path, folder: Path) -> None:
    """Write a plain from_pretrained folder with the tokenizer inside, which knows the encoder's limits and inputs."""
    encoder.save(folder)
    tokenizer = load_tokenizer(tokenizer_path)
    tokenizer.model_max_length = encoder.model.config.max_position_embeddings
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    tokenizer.model_input_names = inputs if encoder.takes_token_type_ids else [inputs[0], inputs[2]]
    tokenizer.save_pretrained(folder)


def special_ids(vocabulary: Vocabulary) -> SpecialIds:
    """What a network's configuration records of a vocabulary."""
    return SpecialIds(
        vocab_size=vocabulary.size, pad_id=vocabulary.pad_id, cls_id=vocabulary.cls_id, sep_id=vocabulary.sep_id
    )


def check_folder(folder: Path, encoder: Encoder, store: TokenStore, length: int) -> None:
    """Hold a model folder against the store that it is to read.

    Raises:
        EncoderError: too few positions, or another vocabulary.
    """
    config = encoder.model.config
    if config.max_position_embeddings < length:
        raise EncoderError(
            f"{folder} has {config.max_position_embeddings} positions, expected at least examples.max_seq_length = "
            f"{length}. Lower that, or set encoder.extend_positions: true (BERT only)."
        )
    has_tokenizer = any((folder / name).exists() for name in ("tokenizer.json", "vocab.txt"))
    other = load_tokenizer(folder).get_vocab() if has_tokenizer else None
    ours = load_tokenizer(store.tokenizer_path).get_vocab()
    if config.vocab_size < store.vocabulary.size or (other is not None and other != ours):
        raise EncoderError(
            f"{folder} has another vocabulary ({config.vocab_size} entries) than the recipe's tokenizer "
            f"({store.vocabulary.size}), expected the same. Set tokenizer: {{path: {folder}}} to use the folder's."
        )
