"""Laws of what others wrote: a folder that is loaded runs nothing, asks nothing and reads nothing outside itself.

Every case is a folder of a whole model with one thing changed by somebody who means harm. Loading it either works as if
that thing were not there, or is refused in one message. Most of them hold a payload, which makes a file when it is run.
"""

import builtins
import hashlib
import json
import logging
import os
import pickle
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast

from encoders.config import EncoderError
from encoders.encoder import EXTRA_HEADS
from encoders.folder import load_encoder
from pretrain import evaluate, inspect
from pretrain.__main__ import main as pretrain_main
from pretrain.audit import main as audit_main
from pretrain.checkpoint import CheckpointError, Checkpoints, load_optimizers, read_progress, read_tensors, verify
from pretrain.loop import Loop
from pretrain.recipe import Recipe
from probes.__main__ import main as probes_main
from probes.embedders import Embedder
from probes.probe import ProbeError
from probes.report import write_report
from tests.small_encoders import small_encoder
from tokenization.vocabulary import Vocabulary, VocabularyError, load_tokenizer

Edit = Callable[[Path], Any]
PAYLOAD = "payload-ran"


class _Payload:
    """What makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = str(file)

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self.file, "w"))


def _mark(folder: Path) -> Path:
    return folder.parent / PAYLOAD


def _pickled(name: str) -> Edit:
    return lambda folder: (folder / name).write_bytes(pickle.dumps(_Payload(_mark(folder))))


def _torch_pickled(name: str, *, without: str | None = None) -> Edit:
    def edit(folder: Path) -> None:
        if without is not None:
            (folder / without).unlink()
        torch.save({"x": _Payload(_mark(folder))}, folder / name)

    return edit


def _json(name: str, *, without: str | None = None, **settings: Any) -> Edit:
    """Set keys of a JSON file, in texts of them MARK being the payload's file and OUT a file outside; None takes out."""

    def edit(folder: Path) -> None:
        file = folder / name
        content = json.loads(file.read_text()) if file.exists() else {}
        told = json.dumps(settings).replace("MARK", str(_mark(folder))).replace("OUT", str(folder.parent / "outside"))
        content = {**content, **json.loads(told)}
        file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
        if without is not None:
            (folder / without).unlink()

    return edit


def _text(name: str, text: str) -> Edit:
    def edit(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text.replace("MARK", str(_mark(folder))))

    return edit


def _index(name: str) -> Edit:
    """Weights in parts, of which the index says that all are in one file."""

    def edit(folder: Path) -> None:
        weights = folder / "model.safetensors"
        index = {"metadata": {}, "weight_map": dict.fromkeys(load_file(weights), name)}
        weights.rename(folder.parent / "outside.safetensors")
        torch.save({"x": _Payload(_mark(folder))}, folder / "evil.bin")
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return edit


def _both(*edits: Edit) -> Edit:
    return lambda folder: [edit(folder) for edit in edits]


_DEEP = "[" * 100_000
_SYSTEM = "{{ cycler.__init__.__globals__.os.system('touch MARK') }}"
_AUTO = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model", "AutoModelForPreTraining": "evil.Model"}
_EVIL_TOKENIZER = {"AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"]}
NOBODY: frozenset[str] = frozenset()
WEIGHTS = frozenset({"encoder", "probe"})
TOKENIZER = frozenset({"tokenizer", "probe", "random"})
CONFIG = frozenset({"encoder", "probe", "random"})

CASES: dict[str, tuple[Edit, frozenset[str]]] = {
    "as it was": (lambda folder: None, NOBODY),
    # ------------------------------------------------------------------------------------------------------- weights
    "a pickle for weights": (_pickled("model.safetensors"), WEIGHTS),
    "a zipped pickle for weights": (_torch_pickled("model.safetensors"), WEIGHTS),
    "a pickle beside weights": (_torch_pickled("pytorch_model.bin"), NOBODY),
    "a pickle instead of weights": (_torch_pickled("pytorch_model.bin", without="model.safetensors"), WEIGHTS),
    "an index of a pickle": (_index("evil.bin"), CONFIG),
    "an index of weights outside": (_index("../outside.safetensors"), CONFIG),
    "an index that is none": (_both(_index("x.safetensors"), _text("model.safetensors.index.json", _DEEP)), CONFIG),
    "a pickle for the extra heads": (_pickled(EXTRA_HEADS), frozenset({"encoder"})),
    "weights under another name": (_json("config.json", transformers_weights="evil.bin"), CONFIG),
    "an adapter of another model": (_json("adapter_config.json", base_model_name_or_path="OUT", peft_type="LORA"), CONFIG),
    # -------------------------------------------------------------------------------------------------- configuration
    "code for a known family": (_json("config.json", auto_map=_AUTO), NOBODY),
    "code for an unknown family": (_json("config.json", auto_map=_AUTO, model_type="evil"), CONFIG),
    "code of another repository": (
        _json("config.json", auto_map={"AutoConfig": "evil/evil--evil.Config"}, model_type="evil"), CONFIG,
    ),
    "no family": (_json("config.json", model_type=None), CONFIG),
    "an activation that is code": (_json("config.json", hidden_act="__import__('os').system"), CONFIG),
    "a kernel from the hub": (_json("config.json", _attn_implementation="evil/evil"), NOBODY),
    "a quantizer": (_json("config.json", quantization_config={"quant_method": "evil"}), WEIGHTS),
    "a width without end": (_json("config.json", hidden_size=10**30), CONFIG),
    "a great width": (_json("config.json", hidden_size=10**12), CONFIG),
    "a great vocabulary": (_json("config.json", vocab_size=10**13), CONFIG),
    "a large vocabulary": (_json("config.json", vocab_size=10**9), WEIGHTS),
    "many layers": (_json("config.json", num_hidden_layers=10**6), CONFIG),
    "a negative width": (_json("config.json", hidden_size=-32), CONFIG),
    "negative layers": (_json("config.json", num_hidden_layers=-1), CONFIG),
    "negative positions": (_json("config.json", max_position_embeddings=-1), CONFIG),
    "no attention heads": (_json("config.json", num_attention_heads=0), CONFIG),
    "a width in words": (_json("config.json", hidden_size="32"), CONFIG),
    "a list for a configuration": (_text("config.json", "[]"), CONFIG),
    "a deep configuration": (_text("config.json", _DEEP), CONFIG),
    # ------------------------------------------------------------------------------------------------------ tokenizer
    "code for a tokenizer": (_json("tokenizer_config.json", auto_map=_EVIL_TOKENIZER), NOBODY),
    "a tokenizer class of code": (
        _json("tokenizer_config.json", auto_map=_EVIL_TOKENIZER, tokenizer_class="Tokenizer"), NOBODY,
    ),
    "code for the only tokenizer": (
        _json("tokenizer_config.json", auto_map=_EVIL_TOKENIZER, tokenizer_class="Tokenizer", without="tokenizer.json"),
        TOKENIZER,
    ),
    "a tokenizer of a model of code": (
        _both(_json("config.json", auto_map=_AUTO | _EVIL_TOKENIZER, model_type="evil"),
              _json("tokenizer_config.json", without="tokenizer.json")),
        CONFIG | TOKENIZER,
    ),
    "a vocabulary outside": (
        _json("tokenizer_config.json", tokenizer_class="BertTokenizer", vocab_file="OUT", without="tokenizer.json"),
        TOKENIZER,
    ),
    "a vocabulary up the tree": (
        _json("tokenizer_config.json", tokenizer_class="BertTokenizer", vocab_file="../outside", without="tokenizer.json"),
        TOKENIZER,
    ),
    "a tokenizer file outside": (_json("tokenizer_config.json", tokenizer_file="/etc/hostname"), TOKENIZER),
    "a tokenizer file that was left over": (_json("tokenizer_config.json", tokenizer_file="/nowhere/t.json"), NOBODY),
    "a pickle for a tokenizer": (_pickled("tokenizer.json"), TOKENIZER),
    "a deep tokenizer": (_text("tokenizer.json", _DEEP), TOKENIZER),
    "a deep tokenizer configuration": (_text("tokenizer_config.json", _DEEP), TOKENIZER),
    "a chat template that is code": (_text("chat_template.jinja", _SYSTEM), NOBODY),
    "a chat template in the settings": (_json("tokenizer_config.json", chat_template=_SYSTEM), NOBODY),
    "more chat templates": (_text("additional_chat_templates/more.jinja", _SYSTEM), NOBODY),
}  # fmt: skip

LOADERS: dict[str, Callable[[Path], Any]] = {
    "encoder": lambda folder: load_encoder(folder, heads="sentence_pairs", attention="eager"),
    "tokenizer": load_tokenizer,
    "probe": Embedder.from_folder,
    "random": lambda folder: Embedder.random(folder, 0),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, vocabulary: Vocabulary, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A whole model folder, of an ELECTRA with a next-sentence head: the one with the most that can be changed."""
    folder = tmp_path_factory.mktemp("good") / "model"
    small_encoder("electra", vocabulary, heads="sentence_pairs").save(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def _nothing_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: Any) -> str:
        raise AssertionError("somebody is asked whether code is to be trusted")

    monkeypatch.setattr(builtins, "input", asked)


def _evil(good: Path, tmp_path: Path, edit: Edit) -> Path:
    folder = shutil.copytree(good, tmp_path / "model")
    code = f"open({str(_mark(folder))!r}, 'w')\nclass Config: pass\nclass Model: pass\nclass Tokenizer: pass\n"
    (folder / "evil.py").write_text(code)
    (tmp_path / "outside").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nsecret\n")
    edit(folder)
    return folder


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("case", CASES)
def test_a_folder_that_means_harm_runs_nothing_and_is_refused_or_taken_without_it(
    good: Path, tmp_path: Path, case: str
) -> None:
    edit, refusing = CASES[case]
    folder = _evil(good, tmp_path, edit)
    for name, load in LOADERS.items():
        if case in ("a large vocabulary",) and name == "random":
            continue  # who asks for random weights has loaded the trained ones before
        try:
            load(folder)
        except (EncoderError, VocabularyError, ProbeError) as error:
            assert name in refusing, f"{name} refuses it: {error}"
            assert str(folder) in str(error) and len(str(error)) < 1500
        else:
            assert name not in refusing, f"{name} takes it"
        assert not _mark(folder).exists(), f"{name} ran the payload"
