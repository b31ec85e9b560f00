"""Laws of what others wrote: a folder that is loaded runs nothing, asks nothing and reads nothing outside itself.

Every case is a folder of a whole model with one thing changed by somebody who means harm. Loading it either works as if
that thing were not there, or is refused in one message. Most of them hold a payload, which makes a file when it is run.
"""

import base64
import builtins
import hashlib
import json
import pickle
import re
import shutil
import zipfile
from collections.abc import Callable
from html.parser import HTMLParser
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
from pretrain.checkpoints.checkpoint import (
    CheckpointError,
    Checkpoints,
    read_progress,
    read_tensors,
    verify,
)
from pretrain.checkpoints.optimizers import load_optimizers
from pretrain.loop import Loop
from pretrain.recipe import Recipe
from probes.__main__ import main as probes_main
from probes.embedders import Embedder
from probes.probe_error import ProbeError
from probes.report import write_report
from tests.probe_results import WORDS, senses_like
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
    """Set keys of a JSON file, MARK in them being the payload's file and OUT one outside; None takes a key out."""

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
    "an adapter of another model": (_json("adapter_config.json", base_model_name_or_path="OUT"), CONFIG),
    # -------------------------------------------------------------------------------------------------- configuration
    "code for a known family": (_json("config.json", auto_map=_AUTO), NOBODY),
    "code for an unknown family": (_json("config.json", auto_map=_AUTO, model_type="evil"), CONFIG),
    "code of another repository": (
        _json("config.json", auto_map={"AutoConfig": "evil/evil--evil.Config"}, model_type="evil"), CONFIG,
    ),
    "no family": (_json("config.json", model_type=None), CONFIG),
    "an activation that is code": (_json("config.json", hidden_act="__import__('os').system"), CONFIG),
    "a kernel from the hub": (
        _json("config.json", _attn_implementation="evil/evil"), frozenset({"probe", "random"}),
    ),
    "another kernel from the hub": (
        _json("config.json", attn_implementation="evil/evil:Kernel"), frozenset({"probe", "random"}),
    ),
    "a quantizer": (_json("config.json", quantization_config={"quant_method": "evil"}), NOBODY),
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
        _json(
            "tokenizer_config.json", tokenizer_class="BertTokenizer", vocab_file="../outside", without="tokenizer.json",
        ),
        TOKENIZER,
    ),
    "a tokenizer file outside": (_json("tokenizer_config.json", tokenizer_file="/etc/hostname"), NOBODY),
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


# A checkpoint that means harm, with a manifest to match ---------------------------------------------------------------


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, tiny_text: Callable[[Path], str], launch: Callable[..., Path]
) -> Path:
    """A run of two networks that was stopped on its way."""
    from pretrain.recipe import read_recipe

    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.yaml").write_text(tiny_text(folder / "run"), encoding="utf-8")
    electra = (
        "encoder={name: electra, num_hidden_layers: 1, hidden_size: 16, num_attention_heads: 2, embedding_size: 16, "
        "intermediate_size: 16, max_position_embeddings: 40}"
    )
    objective = "objective={name: replaced_token_detection, generator_fraction: 1.0, sharing: gradient_disentangled}"
    recipe = read_recipe(folder / "tiny.yaml", [electra, objective, "train.steps=8"])
    with pytest.raises(Exception, match="is saved"):
        launch(recipe, stop_after=2)
    return folder / "run"


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run, tmp_path / "run")


def _checkpoint(run: Path) -> Path:
    (checkpoint,) = Checkpoints(run).all()
    return checkpoint


def _signed(checkpoint: Path) -> None:
    """Write the manifest anew, as whoever changed the files would."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != "manifest.json")
    entries = {
        str(path.relative_to(checkpoint)): {
            "bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in files
    }  # fmt: skip
    (checkpoint / "manifest.json").write_text(json.dumps({"files": entries}))


def _resumed(run: Path, capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit status and what is said on launching the run again."""
    status = pretrain_main([str(run / "recipe.yaml"), f"output_dir={run}"])
    return status, capfd.readouterr().err


PLACES = (
    *(f"{network}/model.safetensors" for network in ("model", "generator")),
    *(f"state/{name}.safetensors" for name in ("optimizer", "objective")),
)


@pytest.mark.parametrize("place", PLACES)
def test_a_run_that_goes_on_from_a_pickle_refuses_in_one_message(
    copy: Path, place: str, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint, mark = _checkpoint(copy), copy.parent / PAYLOAD
    (checkpoint / place).write_bytes(pickle.dumps(_Payload(mark)))
    _signed(checkpoint)
    verify(checkpoint)
    status, said = _resumed(copy, capfd)
    assert (status, mark.exists()) == (2, False), said
    assert said.count("error: ") == 1 and "Traceback" not in said
    assert "expected" in said.split("error: ")[1]


@pytest.mark.parametrize("main", [pretrain_main, evaluate.main, probes_main])
def test_every_command_refuses_a_model_of_code_in_one_message(
    good: Path, tmp_path: Path, tiny_file: Path, capfd: pytest.CaptureFixture[str], main: Callable[[list[str]], int]
) -> None:
    folder = _evil(good, tmp_path, CASES["code for an unknown family"][0])
    arguments = {
        pretrain_main: [str(tiny_file), f"encoder={{from: {folder}}}"],
        evaluate.main: [str(folder), "--recipe", str(tiny_file)],
        probes_main: ["senses", str(folder), "--out", str(tmp_path / "out")],
    }
    assert main(arguments[main]) == 2
    said = capfd.readouterr().err
    assert str(folder) in said and "Traceback" not in said and "expected" in said.lower()
    assert not _mark(folder).exists()


@pytest.mark.parametrize("key", ["step", "", "state/../../x", "9/encoder.model/exp_avg", "0/encoder/exp_avg"])
def test_the_state_of_other_optimizers_is_refused(
    tiny: Callable[..., Recipe], make_loop: Callable[[Recipe], Loop], tmp_path: Path, key: str
) -> None:
    loop = make_loop(tiny())
    name, parameter = next(iter(loop.objective.named_parameters()))
    for tensors in ({key: torch.zeros(3)}, {f"0/{name}/exp_avg": torch.zeros(3)}, {f"7/{name}/x": parameter.detach()}):
        save_file(tensors, tmp_path / "optimizer.safetensors")
        with pytest.raises(
            CheckpointError, match=r"optimizer\.safetensors has .*expected the state of this recipe's run"
        ):
            load_optimizers(loop.optimizers, loop.objective, tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, '{"a": ' + "9" * 5000 + "}", "\xff"])
def test_a_progress_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "progress.json").write_text(text, encoding="latin-1")
    with pytest.raises(CheckpointError, match=r"damaged: progress\.json (cannot be read|is no JSON object).*expected"):
        read_progress(tmp_path)


def test_tensors_that_are_none_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "tally.safetensors"
    for write in (lambda: None, lambda: file.write_bytes(pickle.dumps(_Payload(tmp_path / PAYLOAD)))):
        write()
        with pytest.raises(CheckpointError, match=r"tally\.safetensors cannot be read as safetensors .*expected"):
            read_tensors(file)
    assert not (tmp_path / PAYLOAD).exists()


def test_a_whole_run_directory_holds_no_pickle_and_no_archive(run: Path) -> None:
    files = [path for path in run.rglob("*") if path.is_file()]
    assert len(files) > 15
    for path in files:
        assert (
            path.suffix in (".safetensors", ".json", ".jsonl", ".yaml", ".txt", ".md", ".html") or path.name == ".lock"
        )
        content = path.read_bytes()
        assert not zipfile.is_zipfile(path) and not content.startswith(b"\x80"), f"{path} is a pickle"
    suffixes = {path.suffix for path in _checkpoint(run).rglob("*") if path.is_file()}
    assert suffixes <= {".safetensors", ".json", ".yaml", ".txt"}


def test_a_chat_template_does_not_come_into_a_checkpoint(good: Path, tmp_path: Path) -> None:
    folder = _evil(good, tmp_path, CASES["a chat template that is code"][0])
    load_tokenizer(folder).save_pretrained(tmp_path / "saved")
    assert not [path for path in (tmp_path / "saved").rglob("*") if path.is_file() and b"cycler" in path.read_bytes()]


# Names and texts that are HTML, markup of a terminal, or a program ----------------------------------------------------

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
ESCAPE = "\x1b[31m\x1b]0;owned\x07"


class _Programs(HTMLParser):
    """Finds what would run in a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        runs = tag in ("script", "iframe", "object", "embed", "svg") or any(name.startswith("on") for name, _ in attrs)
        leads = any(name in ("src", "href") and not (value or "").startswith("data:image/png") for name, value in attrs)
        self.found += [tag] * (runs or leads)


def _hostile(value: Any, key: str = "") -> Any:
    """The same with a program behind every text and every name."""
    if isinstance(value, dict):
        return {
            (f"{name}{SCRIPT}" if key in ("measures", "data", "settings", "versions") else name): _hostile(one, name)
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [_hostile(one, key) for one in value]
    is_text = isinstance(value, str) and key not in ("role", "unit", "is_better", "kind")
    return f"{value}{SCRIPT}" if is_text else value


def test_a_report_shows_html_in_names_and_texts_as_text(tmp_path: Path) -> None:
    plain = json.loads(senses_like(("mini",), words=WORDS[:1], num_layers=2, num_points=3).model_dump_json())
    (tmp_path / "secret").write_bytes(b"a file outside")
    outside = {"file": "../../secret", "caption": "outside", "kind": "heatmap"}
    pages = {}
    for name, results in {"plain": plain, f"run {SCRIPT.replace('/', '')}": _hostile(plain)}.items():
        run, words = tmp_path / name, "" if name == "plain" else SCRIPT
        (run / "probes").mkdir(parents=True)
        (run / "checkpoints" / "step-00000001").mkdir(parents=True)
        (run / "recipe.yaml").write_text(f"name: {words}")
        line = {"step": 1, f"loss/{words}x_nats": 1.0, f"probe/{words}/x": 1.0, "loss/mlm_nats": 2.0}
        (run / "metrics.jsonl").write_text(json.dumps(line) + "\n")
        (run / "checkpoints" / "step-00000001" / "progress.json").write_text(json.dumps({"versions": {words: words}}))
        results["pictures"] += [outside, {**outside, "file": str(tmp_path / "secret")}]
        (run / "probes" / "senses.json").write_text(json.dumps(results))
        pages[name] = write_report(run).read_text(encoding="utf-8")
    harmless, page = pages.values()
    assert page.count("&lt;script&gt;") > 20 and "<script>alert(1)" not in page
    assert base64.b64encode(b"a file outside").decode() not in page
    assert _Programs(page).found == _Programs(harmless).found != []
    assert _Programs(SCRIPT).found == ["script", "img"]


@pytest.mark.parametrize(("main", "options"), [(inspect.main, ["--examples", "20"]), (audit_main, [])])
def test_a_page_for_a_terminal_gives_it_no_orders(
    tiny_text: Callable[[Path], str], corpus_files: tuple[Path, Path], tmp_path: Path,
    capfd: pytest.CaptureFixture[str], main: Callable[[list[str]], int], options: list[str],
) -> None:  # fmt: skip
    evil = tmp_path / f"evil{ESCAPE}.jsonl"
    texts = [
        f"The {SCRIPT} {ESCAPE} [bold red]went[/] home :smiley: number {number}. It slept." for number in range(60)
    ]
    evil.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    recipe = tmp_path / "r.yaml"
    recipe.write_text(tiny_text(tmp_path / "run").replace(str(corpus_files[0]), json.dumps(str(evil))))
    status = main([str(recipe), "tokenizer.vocab_size=100", *options])
    said = capfd.readouterr()
    assert status == 0, said.err
    assert "\x1b" not in said.out and "\x07" not in said.out
    assert main is audit_main or "[" in said.out


def test_a_model_card_runs_nothing_and_shows_no_html(run: Path, tmp_path: Path) -> None:
    from pretrain.assembly import prepared_store
    from pretrain.card import write_card
    from pretrain.recipe import read_recipe

    recipe = read_recipe(run / "recipe.yaml", [f"corpus.license={json.dumps(SCRIPT)}"])
    folder = shutil.copytree(_checkpoint(run) / "generator", tmp_path / "generator")
    tokenizer = load_tokenizer(folder)
    tokenizer.add_special_tokens({"mask_token": '"); __import__("os").system("touch x")  # {{ 7 * 7 }}'})
    tokenizer.save_pretrained(folder)
    progress = {**read_progress(_checkpoint(run)), "evaluation": {SCRIPT: 1.0, "{{ 7 * 7 }}": 2.0}}
    write_card(folder, "generator", recipe, prepared_store(recipe), progress)
    card = (folder / "README.md").read_text(encoding="utf-8")
    shown, _, told = card.partition("## Recipe")
    assert _Programs(shown).found == [] and "{{ 7 * 7 }}" in shown and "49" not in shown
    assert SCRIPT.split('"')[0] in told, "the recipe is shown as it is, inside a fence"
    (example,) = re.findall(r"^pipeline\(.*$", shown, flags=re.MULTILINE)
    called = json.loads(re.fullmatch(r'pipeline\("fill-mask", model="PATH"\)\((".*")\)', example)[1])  # type: ignore[index]
    assert called.startswith('The cat sat on the "); __import__'), "a program in a name is text in the example"
