"""Loading what a stranger saved: a transformers folder (or hub id) as a model and its tokenizer, and nothing else.

Only safetensors and the folder's own tokenizer files are read; no code of the folder or of a hub is ever run.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from probes.probe_error import ProbeError

MOST_LAYERS = 1000
"""More than any encoder has; transformers would go on making them for hours."""


class MissingWeights(ProbeError):
    """A folder's weights do not fill the network that it was to be read as: the rest would be random."""


def load_model(path: str | Path, auto_class: str = "AutoModel") -> tuple[Any, Any]:
    """The trained network of a transformers folder (or hub id) in float32, set to evaluation, and its fast tokenizer.

    Args:
        path: the folder, a sentence-transformers folder, or a hub id.
        auto_class: as whose network it is read: AutoModel (the encoder), AutoModelForMaskedLM.

    Raises:
        MissingWeights: weights that do not fill the network.
        ProbeError: no such folder, no model in it, no safetensors.
    """
    import torch
    import transformers

    folder = transformer_folder(path)
    with explained(path), quiet_transformers():
        _check_files(Path(folder))
        model, info = getattr(transformers, auto_class).from_pretrained(
            folder, **_local(folder), use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
        tokenizer = _tokenizer(folder)
    # Only a pooler may be missing: nothing here comes from it. Anything else would be random without a word.
    missing = sorted(key for key in info["missing_keys"] if "pooler." not in key)
    if missing:
        raise MissingWeights(
            f"{path}: its weights lack {len(missing)} of the tensors of a {type(model).__name__}"
            f" ({', '.join(missing[:3])} ...), so these would be random. Expected the weights of all of it. Name a"
            " model that was trained with them, or save it again with save_pretrained."
        )
    _check_tokenizer(path, model, tokenizer)
    return model.eval(), tokenizer


def random_model(path: str | Path, seed: int, auto_class: str = "AutoModel") -> tuple[Any, Any]:
    """The same network with newly drawn weights, and its tokenizer; torch's own generator is left as it was."""
    import torch
    import transformers

    folder = transformer_folder(path)
    with explained(path), quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _check_files(Path(folder))
        config = transformers.AutoConfig.from_pretrained(folder, **_local(folder))
        model = getattr(transformers, auto_class).from_config(config, dtype=torch.float32, trust_remote_code=False)
        tokenizer = _tokenizer(folder)
    _check_tokenizer(path, model, tokenizer)
    return model.eval(), tokenizer


def transformer_folder(path: str | Path) -> str:
    """The folder that holds config.json: the one given, or the first module of a sentence-transformers folder."""
    folder = Path(path)
    if folder.is_dir():
        inside = sorted(folder.glob("*_Transformer/config.json"))
        if not (folder / "config.json").is_file():
            if not inside:
                raise ProbeError(
                    f"{path} holds no config.json. Expected a transformers folder (config.json, model.safetensors,"
                    " tokenizer.json), or a run or checkpoint with model/ inside. Check the path."
                )
            folder = inside[0].parent
        return str(folder)
    if folder.exists() or not re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", str(path)):
        raise ProbeError(
            f"{path} is not a folder. Expected a transformers folder (config.json, model.safetensors, tokenizer.json),"
            " a run, or a hub id. Check the path."
        )
    return str(path)


def _check_tokenizer(path: str | Path, model: Any, tokenizer: Any) -> None:
    if not tokenizer.is_fast:
        raise ProbeError(
            f"{path}: its tokenizer ({type(tokenizer).__name__}) keeps no character offsets, which finding a word"
            " needs. Expected a fast tokenizer. Save the folder again with a tokenizer.json."
        )
    if model.config.is_encoder_decoder:
        raise ProbeError(
            f"{path} is an encoder and decoder in one ({model.config.model_type}), expected an encoder."
            " Save its encoder as a folder of its own."
        )


def _check_files(folder: Path) -> None:
    """See to it that transformers will read safetensors and the tokenizer of this folder only.

    Raises:
        ValueError: something in it names other files or code, or more layers than any encoder has.
    """
    if not folder.is_dir():
        return  # a hub id, whose files transformers keeps together
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if (folder / "adapter_config.json").exists() or "transformers_weights" in config:
        raise ValueError("adapter_config.json or transformers_weights names other weights")
    if "/" in f"{config.get('_attn_implementation')} {config.get('attn_implementation')}":
        raise ValueError("config.json asks for an attention kernel from the hub, which is code")
    layers = config.get("num_hidden_layers", 1)
    if type(layers) is not int or not 1 <= layers <= MOST_LAYERS:
        raise ValueError(f"config.json says that num_hidden_layers is {layers!r}")
    index = folder / "model.safetensors.index.json"
    names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values() if index.exists() else ()
    if wrong := [name for name in names if Path(name).name != name or Path(name).suffix != ".safetensors"]:
        raise ValueError(f"{index.name} names {wrong[0]!r}")
    from tokenization.vocabulary import check_tokenizer_files  # which loads transformers, too much for a listing

    check_tokenizer_files(folder)


def _local(folder: str) -> dict[str, Any]:
    return {"local_files_only": Path(folder).is_dir(), "trust_remote_code": False}


def _tokenizer(folder: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, **_local(folder))


@contextmanager
def explained(path: str | Path) -> Iterator[None]:
    """Turns what transformers says about a folder that it cannot load into a ProbeError."""
    try:
        yield
    except Exception as error:  # what a stranger wrote can fail anywhere in transformers
        reason = " ".join(f"{error or type(error).__name__}".split())
        is_folder = Path(path).is_dir()
        got = "cannot be loaded" if is_folder else "is not a folder, and cannot be loaded as a hub id"
        advice = "Save it again with save_pretrained." if is_folder else "Check the path."
        raise ProbeError(
            f"{path} {got}: {reason[:400]}. Expected a transformers folder with config.json,"
            f" model.safetensors and a tokenizer (pickled weights are not read). {advice}"
        ) from error


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and no warnings (about heads that AutoModel has no use for) inside; both as before after."""
    from transformers.utils import logging

    verbosity, progress = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if progress:
            logging.enable_progress_bar()
