"""Reading an encoder from a transformers folder: its own configuration, safetensors only, no code of the folder."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from encoders.building import find_class, fit_config
from encoders.config import EncoderError
from encoders.conversion import electra_of_bert
from encoders.encoder import EXTRA_HEADS, Encoder, Heads, SentenceHead

_SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
          "max_position_embeddings")  # fmt: skip
_INDEX = "model.safetensors.index.json"


def read_config(folder: Path) -> PreTrainedConfig:
    """The configuration of a transformers folder; no code of the folder is run.

    Raises:
        EncoderError: no model folder, or one whose sizes are none.
    """
    reason = "it has no config.json"
    try:
        if (folder / "config.json").is_file():
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            sizes = {name: getattr(config, name) for name in _SIZES if hasattr(config, name)}
            wrong = [f"{name} is {size!r}" for name, size in sizes.items() if type(size) is not int or size < 1]
            if not wrong:
                return config
            reason = ", ".join(wrong)
    except Exception as error:  # what a stranger wrote can fail anywhere in transformers
        reason = (str(error).splitlines() or [type(error).__name__])[0]
    raise EncoderError(
        f"{folder} is not a transformers model folder ({reason}); expected config.json and model.safetensors. "
        "Name a folder that save_pretrained or this kit wrote."
    )


def load_encoder(
    folder: Path, *, heads: Heads, attention: str, num_positions: int | None = None, bert_as_electra: bool = False
) -> tuple[Encoder, list[str]]:
    """An encoder with the weights of a transformers folder, and the names of those that the folder lacks.

    Weights that the folder lacks (a next-sentence head on a masked language model) are fresh. Only safetensors are read
    and no code of the folder is run.

    Args:
        heads: what it will be asked.
        num_positions: extend learnt positions to so many by repeating their table; None leaves them.
        bert_as_electra: make an ELECTRA of a BERT, which has the same body where embedding_size is hidden_size.

    Raises:
        EncoderError: no model folder, a family that the kit does not train, or weights that do not fit.
    """
    config = read_config(folder)
    if config.model_type == "bert" and bert_as_electra:
        bert, fresh = _load_model(folder, config, heads="tokens", attention=attention)
        model, missing = electra_of_bert(bert, fresh=fresh, heads=heads, attention=attention)
        config = model.config
    else:
        model, missing = _load_model(folder, config, heads=heads, attention=attention)
    family, _ = find_class(config, heads, str(folder))
    if family.has_learnt_positions and num_positions is not None and num_positions > config.max_position_embeddings:
        _extend_positions(model, num_positions)
    if not (heads == "sentence_pairs" and family.lacks_sentence_head):
        return family(model), missing
    head = SentenceHead(config)
    if not (folder / EXTRA_HEADS).exists():
        return family(model, head), missing + sorted(head.state_dict())
    try:
        head.load_state_dict(load_file(folder / EXTRA_HEADS))
    except (RuntimeError, OSError, SafetensorError) as error:
        raise _unfit(folder, f"{EXTRA_HEADS}: {error}") from error
    return family(model, head), missing


def _load_model(
    folder: Path, config: PreTrainedConfig, *, heads: Heads, attention: str
) -> tuple[PreTrainedModel, list[str]]:
    """The transformers model of a folder in float32, and the names of the heads' weights that the folder lacks."""
    _, model_class = find_class(config, heads, str(folder))
    if not any((folder / name).exists() for name in ("model.safetensors", _INDEX)):
        raise EncoderError(
            f"{folder} has no model.safetensors; expected weights as safetensors (pickled weights can run code and are "
            "not read). Save the model again with save_pretrained."
        )
    _check_weights(folder, config)
    try:
        model, info = model_class.from_pretrained(
            folder, config=fit_config(config, heads), attn_implementation=attention, dtype=torch.float32,
            use_safetensors=True, local_files_only=True, trust_remote_code=False, output_loading_info=True,
            ignore_mismatched_sizes=True,
        )  # fmt: skip
    except Exception as error:  # what a stranger wrote can fail anywhere in transformers
        raise _unfit(folder, f"{type(error).__name__}: {error}"[:400]) from error
    if info["mismatched_keys"]:
        name, found, expected = min(info["mismatched_keys"])
        raise _unfit(folder, f"{name} is {tuple(found)}, not {tuple(expected)}")
    missing = sorted(info["missing_keys"])
    body = [name for name in missing if name.startswith(f"{model.base_model_prefix}.") and ".pooler." not in name]
    if body:  # transformers would draw them at random, and the run would start from noise without a word
        raise _unfit(folder, f"{len(body)} of the encoder's are not there, such as {body[0]}")
    return model, missing


def _check_weights(folder: Path, config: PreTrainedConfig) -> None:
    """See to it that transformers will read safetensors of this folder only, and make no more than they can fill."""
    if (folder / "adapter_config.json").exists() or getattr(config, "transformers_weights", None) is not None:
        raise _unfit(folder, "adapter_config.json or transformers_weights names others")
    files = [folder / "model.safetensors"]
    if not files[0].exists():
        try:
            names = json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"].values()
            files = [folder / name for name in dict.fromkeys(names) if Path(name).name == name]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _unfit(folder, f"{_INDEX} cannot be read: {error}") from error
        if len(files) < len(set(names)) or any(file.suffix != ".safetensors" for file in files):
            raise _unfit(folder, f"{_INDEX} names files that are no safetensors of the folder")
    width = config.hidden_size
    table = config.vocab_size * getattr(config, "embedding_size", width)
    least = table + config.num_hidden_layers * width * (4 * width + 2 * config.intermediate_size)
    if least > (there := sum(file.stat().st_size for file in files if file.exists())):  # a weight has a byte at least
        raise _unfit(folder, f"config.json asks for more than {least} weights, and there are {there} bytes of them")


def _extend_positions(model: PreTrainedModel, num_positions: int) -> None:
    embeddings = model.base_model.embeddings
    table = embeddings.position_embeddings.weight.data
    repeats = -(-num_positions // len(table))
    longer = nn.Embedding(num_positions, table.shape[1])
    longer.weight.data.copy_(table.repeat(repeats, 1)[:num_positions])
    embeddings.position_embeddings = longer
    embeddings.position_ids = torch.arange(num_positions).expand((1, -1))
    embeddings.token_type_ids = torch.zeros((1, num_positions), dtype=torch.long)
    model.config.max_position_embeddings = num_positions


def _unfit(folder: Path, reason: str) -> EncoderError:
    return EncoderError(
        f"{folder} has weights that do not fit ({' '.join(reason.split())}); expected all weights of the model that "
        "its config.json describes. Save the model again with save_pretrained, or name another folder."
    )
