"""What a recipe is made into: the token store, the objective around its encoder, a model folder that others load."""

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import PreTrainedConfig

from encoders.attention import attention_kernel
from encoders.building import build_encoder
from encoders.config import EncoderError, EncoderFolder, SpecialIds
from encoders.encoder import Encoder
from encoders.folder import load_encoder, read_config
from objectives.draws import Key
from objectives.objective import Objective
from pretrain.batches import Examples
from pretrain.checkpoints.checkpoint import CheckpointError, read_tensors
from pretrain.recipe import Recipe
from tokenization.cache import Engine, prepare_store
from tokenization.preparing.cores import prepare_here
from tokenization.store import TokenStore
from tokenization.vocabulary import Vocabulary, load_tokenizer

OWN_STATE = Path("state/objective.safetensors")
"""Where a checkpoint keeps what resuming needs of the weights and the model folders do not hold."""

logger = logging.getLogger(__name__)


def prepared_store(recipe: Recipe, engine: Engine = prepare_here) -> TokenStore:
    """The token store of a recipe's corpus and tokenizer, made now by the engine if the cache does not have it."""
    return prepare_store(recipe.corpus, recipe.tokenizer, cache_dir=Path(recipe.cache_dir), engine=engine)


def training_examples(recipe: Recipe, store: TokenStore) -> Examples:
    """The examples that a recipe trains on."""
    return Examples(
        store.train,
        store.vocabulary,
        cutting=recipe.examples,
        masking=recipe.masking,
        seed=recipe.seed,
        with_noise=recipe.objective.draws_tokens,
    )


def build_objective(recipe: Recipe, store: TokenStore, *, device: torch.device) -> Objective:
    """The recipe's objective with the weights that a run starts from, on the host, as recipe and folders decide.

    Args:
        device: where it will train, which decides the attention kernel.

    Raises:
        EncoderError: a folder to start from does not fit the recipe.
    """
    torch.manual_seed(int(Key(recipe.seed, 0, "weights").word() >> 1))
    length = recipe.examples.max_seq_length
    attention, heads = attention_kernel(device, length), recipe.objective.heads["model"]
    if isinstance(recipe.encoder, EncoderFolder):
        folder = Path(recipe.encoder.from_)
        encoder, missing = load_encoder(
            folder,
            heads=heads,
            attention=attention,
            num_positions=length if recipe.encoder.extend_positions else None,
            bert_as_electra=heads == "replaced_tokens",
        )
        check_folder(folder, encoder, store, length)
        if missing:
            logger.info("%s has no weights for %s; they start fresh", folder, ", ".join(missing))
    else:
        config = recipe.encoder.config(special_ids(store.vocabulary))
        encoder = build_encoder(config, heads=heads, attention=attention)
    for other in map(Path, recipe.objective.folders.values()):
        _check_vocabulary(other, read_config(other), store)  # before two tables are found to be of different sizes
    objective = recipe.objective.build(encoder)
    for name, path in recipe.objective.folders.items():
        _check_positions(Path(path), objective.networks[name].model.config, length)
    return objective


def saved_networks(recipe: Recipe, place: Path) -> dict[str, Path]:
    """The model folders of a run or a checkpoint, by name."""
    return {name: place / name for name in recipe.objective.heads}


def load_objective(recipe: Recipe, folders: Mapping[str, Path], *, device: torch.device) -> tuple[Objective, list[str]]:
    """The recipe's objective with the weights of its networks' folders, and the names of weights that they lack."""
    attention = attention_kernel(device, recipe.examples.max_seq_length)
    loaded = {
        name: load_encoder(folders[name], heads=heads, attention=attention)
        for name, heads in recipe.objective.heads.items()
    }
    return (
        recipe.objective.restore({name: encoder for name, (encoder, _) in loaded.items()}),
        [name for _, missing in loaded.values() for name in missing],
    )


def save_objective(objective: Objective, tokenizer_path: Path, folder: Path) -> None:
    """Write the folder of each network into a checkpoint, and what they do not hold into its state."""
    for name, encoder in objective.networks.items():
        save_model(encoder, tokenizer_path, folder / name)
    if own_state := objective.own_state():
        (folder / OWN_STATE).parent.mkdir(exist_ok=True)
        save_file({name: value.cpu().contiguous() for name, value in own_state.items()}, folder / OWN_STATE)


def load_own_state(objective: Objective, checkpoint: Path) -> None:
    """Give an objective that was restored from a checkpoint what its networks' folders do not hold.

    Raises:
        CheckpointError: it is not there, or does not fit.
    """
    if objective.own_state():
        try:
            objective.load_own_state(read_tensors(checkpoint / OWN_STATE))
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(
                f"{checkpoint / OWN_STATE} does not fit ({error}), expected the state of this recipe's run as it was "
                "saved. Name another checkpoint."
            ) from error


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
    _check_positions(folder, encoder.model.config, length)
    _check_vocabulary(folder, encoder.model.config, store)


def _check_positions(folder: Path, config: PreTrainedConfig, length: int) -> None:
    if config.max_position_embeddings < length:
        raise EncoderError(
            f"{folder} has {config.max_position_embeddings} positions, expected at least examples.max_seq_length = "
            f"{length}. Lower that, or set encoder.extend_positions: true (BERT and ELECTRA)."
        )


def _check_vocabulary(folder: Path, config: PreTrainedConfig, store: TokenStore) -> None:
    has_tokenizer = any((folder / name).exists() for name in ("tokenizer.json", "vocab.txt"))
    other = load_tokenizer(folder).get_vocab() if has_tokenizer else None
    ours = load_tokenizer(store.tokenizer_path).get_vocab()
    if config.vocab_size < store.vocabulary.size or (other is not None and other != ours):
        raise EncoderError(
            f"{folder} has another vocabulary ({config.vocab_size} entries) than the recipe's tokenizer "
            f"({store.vocabulary.size}), expected the same. Set tokenizer: {{path: {folder}}} to use the folder's."
        )
