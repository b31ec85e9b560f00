"""The one extractor: sentences and word spans -> contextual vectors of the words, by layer.

Words are found by character span, so any fast tokenizer serves; a word's vector is the mean over its pieces. Layer 0 is
the output of the embedding layer. All layers come from one pass, in batches of sentences of like length.
"""

# N sentences, B sentences of a batch, T tokens of the longest of them, K layers, D hidden size

import inspect
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from probes.probe import ProbeError
from tokenization.vocabulary import check_tokenizer_files

if TYPE_CHECKING:
    import torch

Span = tuple[int, int]
"""First character of a word in its sentence, and the one after its last."""
Vectors = NDArray[np.float32]

BATCH_SIZE = 32
MOST_LAYERS = 1000
"""More than any encoder has; transformers would go on making them for hours."""
EXCERPT = 60


class Embedder:
    """A transformers encoder with its tokenizer, asked for the vectors of words in sentences."""

    def __init__(self, model: Any, tokenizer: Any, *, name: str) -> None:
        """
        Args:
            model: any transformers encoder that gives hidden states; it is set to evaluation.
            tokenizer: its fast tokenizer.
            name: how messages call it.

        Raises:
            ProbeError: the tokenizer keeps no character offsets, or the model is an encoder and decoder in one.
        """
        if not tokenizer.is_fast:
            raise ProbeError(
                f"{name}: its tokenizer ({type(tokenizer).__name__}) keeps no character offsets, which finding a word"
                " needs. Expected a fast tokenizer. Save the folder again with a tokenizer.json."
            )
        if model.config.is_encoder_decoder:
            raise ProbeError(
                f"{name} is an encoder and decoder in one ({model.config.model_type}), expected an encoder."
                " Save its encoder as a folder of its own."
            )
        self.name = name
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.num_layers: int = model.config.num_hidden_layers
        self.max_length = _max_length(model, tokenizer)
        taken = inspect.signature(model.forward).parameters
        # ModernBERT's forward swallows unknown keys, so only what it declares is handed over.
        self._inputs = [key for key in tokenizer.model_input_names if key in taken and key != "attention_mask"]

    @classmethod
    def from_folder(cls, path: str | Path) -> "Embedder":
        """The trained encoder of a transformers folder (or hub id), in float32.

        Raises:
            ProbeError: no such folder, no model in it, no safetensors, or weights that do not fill the encoder.
        """
        import torch
        from transformers import AutoModel

        folder = _transformer_folder(path)
        with _explained(path), _quiet_transformers():
            _check_files(Path(folder))
            model, info = AutoModel.from_pretrained(
                folder, **_local(folder), use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
            tokenizer = _tokenizer(folder)
        # Only a pooler may be missing: no vector here comes from it. Anything else would be random without a word.
        missing = sorted(key for key in info["missing_keys"] if not key.startswith("pooler."))
        if missing:
            raise ProbeError(
                f"{path}: its weights lack {len(missing)} of the encoder's tensors ({', '.join(missing[:3])} ...), so"
                f" these would be random. Expected the weights of a whole {type(model).__name__}. Save the model again"
                " with save_pretrained."
            )
        return cls(model, tokenizer, name=str(path))

    @classmethod
    def random(cls, path: str | Path, seed: int) -> "Embedder":
        """The same architecture and tokenizer with newly drawn weights; torch's own generator is left as it was."""
        import torch
        from transformers import AutoConfig, AutoModel

        folder = _transformer_folder(path)
        with _explained(path), _quiet_transformers(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            _check_files(Path(folder))
            config = AutoConfig.from_pretrained(folder, **_local(folder))
            model = AutoModel.from_config(config, dtype=torch.float32, trust_remote_code=False)
            tokenizer = _tokenizer(folder)
        return cls(model, tokenizer, name=f"{path} with random weights")

    @property
    def num_parameters(self) -> int:
        """Weights of the encoder, the embeddings included."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def embed(
        self,
        sentences: Sequence[str],
        spans: Sequence[Span],
        *,
        layers: Sequence[int] | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> Vectors:
        """The contextual vector of one word in each sentence.

        Args:
            sentences: N texts.
            spans: where the word stands in each.
            layers: which layers, 0 (the embedding layer's output) to num_layers; None: all.
            batch_size: sentences of one pass; it changes the speed and not the vectors.

        Returns:
            (K, N, D) float32, sentences in the order given.

        Raises:
            ProbeError: a layer that the model does not have, or a word that is not in its sentence or was cut off
                with its end, by number of the sentence.
        """
        import torch

        chosen = self._checked_layers(layers)
        encoded, pieces = self._encode(sentences, spans)
        by_length = sorted(range(len(sentences)), key=lambda index: len(encoded[index]["input_ids"]))
        vectors_KND: Vectors | None = None
        for first in range(0, len(by_length), batch_size):
            batch = by_length[first : first + batch_size]
            inputs = self._padded([encoded[index] for index in batch])
            with torch.inference_mode():
                hidden = self.model(**inputs, output_hidden_states=True).hidden_states
                weights_BT = _piece_weights([pieces[index] for index in batch], inputs["input_ids"].shape[1])
                mean_KBD = torch.stack([torch.einsum("bt,btd->bd", weights_BT, hidden[k].float()) for k in chosen])
            if vectors_KND is None:
                vectors_KND = np.empty((len(chosen), len(sentences), mean_KBD.shape[2]), dtype=np.float32)
            vectors_KND[:, batch] = mean_KBD.numpy()
        return np.empty((len(chosen), 0, 0), dtype=np.float32) if vectors_KND is None else vectors_KND

    def static(self, sentences: Sequence[str], spans: Sequence[Span]) -> Vectors:
        """The word's vector in the table of input embeddings, the mean over its pieces: (N, embedding size) float32.

        It knows nothing of the sentence: equal pieces give equal vectors.
        """
        encoded, pieces = self._encode(sentences, spans)
        table = self.model.get_input_embeddings().weight.detach().float().numpy()
        rows = [np.asarray(one["input_ids"])[at] for one, at in zip(encoded, pieces, strict=True)]
        return np.stack([table[ids].mean(axis=0) for ids in rows]).astype(np.float32)

    def _checked_layers(self, layers: Sequence[int] | None) -> list[int]:
        chosen = list(range(self.num_layers + 1)) if layers is None else list(layers)
        wrong = [layer for layer in chosen if not 0 <= layer <= self.num_layers]
        if wrong or not chosen:
            raise ProbeError(
                f"{self.name}: got layers {', '.join(map(str, wrong)) or '(none)'}, expected numbers from 0 (the"
                f" embedding layer) to {self.num_layers}. Name layers that the model has, or all."
            )
        return chosen

    def _encode(
        self, sentences: Sequence[str], spans: Sequence[Span]
    ) -> tuple[list[dict[str, list[int]]], list[list[int]]]:
        """The model's inputs for each sentence, and the positions of the word's pieces in them."""
        assert len(sentences) == len(spans)
        encoded, pieces = [], []
        for number, (sentence, span) in enumerate(zip(sentences, spans, strict=True), 1):
            if not 0 <= span[0] < span[1] <= len(sentence):
                raise self._no_target(number, sentence, f"has {len(sentence)} characters and no {span[0]} to {span[1]}")
            one, found = self._tokenized(sentence, span, truncation=False)
            if not found:
                where = f"characters {span[0]} to {span[1]}, {sentence[slice(*span)]!r}"
                raise self._no_target(number, sentence, f"has no token there ({where})")
            if self.max_length is not None and len(one["input_ids"]) > self.max_length:
                num_tokens, num_pieces = len(one["input_ids"]), len(found)
                one, found = self._tokenized(sentence, span, truncation=True)
                if len(found) < num_pieces:
                    where = f"{sentence[slice(*span)]!r} lies beyond the {self.max_length} that the model reads"
                    raise self._no_target(number, sentence, f"has {num_tokens} tokens, and {where}")
            encoded.append(one)
            pieces.append(found)
        self._check_ids(encoded)
        return encoded, pieces

    def _tokenized(self, sentence: str, span: Span, *, truncation: bool) -> tuple[dict[str, list[int]], list[int]]:
        with _quiet_transformers():
            one = self.tokenizer(
                sentence,
                truncation=truncation,
                max_length=self.max_length if truncation else None,
                return_offsets_mapping=True,
            )
        begin, end = span
        # Special tokens have empty offsets and so are never pieces of a word.
        found = [at for at, (a, b) in enumerate(one["offset_mapping"]) if a < b and a < end and b > begin]
        return {key: one[key] for key in self._inputs}, found

    def _check_ids(self, encoded: list[dict[str, list[int]]]) -> None:
        largest = max((max(one["input_ids"]) for one in encoded), default=0)
        num_rows = self.model.get_input_embeddings().weight.shape[0]
        if largest >= num_rows:
            raise ProbeError(
                f"{self.name}: its tokenizer gives the id {largest}, but the model has {num_rows} embeddings (0 to"
                f" {num_rows - 1}). Expected the tokenizer that the model was trained with. Put that one in its folder."
            )

    def _no_target(self, number: int, sentence: str, what: str) -> ProbeError:
        excerpt = sentence if len(sentence) <= EXCERPT else sentence[: EXCERPT - 1] + "…"
        return ProbeError(
            f"{self.name}: sentence {number} ({excerpt!r}) {what}. Expected the word inside the part that the model"
            " reads. Shorten the sentence or correct the place of the word."
        )

    def _padded(self, batch: list[dict[str, list[int]]]) -> dict[str, "torch.Tensor"]:
        """The inputs of several sentences as (B, T) int64, padded at the right, with their attention mask."""
        import torch

        longest = max(len(one["input_ids"]) for one in batch)
        # RoBERTa counts positions from the padding id, so padding must be the tokenizer's own.
        fill = {"input_ids": self.tokenizer.pad_token_id or 0}
        padded = {
            key: torch.tensor([one[key] + [fill.get(key, 0)] * (longest - len(one[key])) for one in batch])
            for key in self._inputs
        }
        lengths = torch.tensor([len(one["input_ids"]) for one in batch])
        return {**padded, "attention_mask": (torch.arange(longest)[None] < lengths[:, None]).long()}


def _piece_weights(pieces: list[list[int]], num_tokens: int) -> "torch.Tensor":
    """(B, T) float32 that takes the mean over each sentence's pieces: 1 / number of pieces there, 0 elsewhere."""
    import torch

    weights = torch.zeros(len(pieces), num_tokens)
    for row, found in enumerate(pieces):
        weights[row, found] = 1 / len(found)
    return weights


def _max_length(model: Any, tokenizer: Any) -> int | None:
    """The most tokens that the model can read at once; None where neither model nor tokenizer has a bound."""
    bounds = [tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None)]
    positions = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    if positions is not None and getattr(positions, "padding_idx", None) is not None:
        # RoBERTa's first position stands behind the padding's.
        bounds.append(positions.num_embeddings - positions.padding_idx - 1)
    # A tokenizer that was told no bound says 1e30.
    real = [int(bound) for bound in bounds if bound is not None and 0 < bound < 1e9]
    return min(real) if real else None


def _transformer_folder(path: str | Path) -> str:
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
    check_tokenizer_files(folder)


def _local(folder: str) -> dict[str, Any]:
    return {"local_files_only": Path(folder).is_dir(), "trust_remote_code": False}


def _tokenizer(folder: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, **_local(folder))


@contextmanager
def _explained(path: str | Path) -> Iterator[None]:
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
def _quiet_transformers() -> Iterator[None]:
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
