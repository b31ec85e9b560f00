"""Preparing a corpus against what a user would run instead: tokenizers, then datasets' map and group_texts.

Ours is `python -m pretrain.prepare`: a WordPiece vocabulary of 30,522 and the token store. The other way trains a
vocabulary of that size with the tokenizers library on all text, tokenizes with `Dataset.map` on all cores, and joins
the tokens and cuts them into blocks of 512 with a second map, as transformers' example run_mlm.py does. Both read the
same files, hold nothing out and start from an empty cache. They take turns, each turn in processes of its own.

    python -m benchmarks.preparing [FILES...] [--turns N] [--columns run_mlm]
    python -m benchmarks.preparing [FILES...] [--turns N] --memory

Seconds are those of the whole process, imports included. Memory is the most that the process and its descendants held
at one moment, as PSS (Linux only): a page that n processes share counts 1/n in each, so that the sum counts it once.
It is read every 0.2 s while the clock runs, in both ways alike. CPU seconds are those of all of them. Disk is what is
left once the command has ended. With --memory, ours alone is measured at 30 MB and at 300 MB of text: the texts of
FILES, cut or repeated, each under a heading of its own so that no two documents are equal.
"""

import argparse
import gzip
import itertools
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.turns import spread

ROOT = Path(__file__).parents[1]
VOCAB_SIZE, LENGTH = 30_522, 512
SAMPLE_SECONDS = 0.2
MEMORY_BYTES = (30_000_000, 300_000_000)
COLUMNS = {"lean": ["input_ids"], "run_mlm": ["input_ids", "token_type_ids", "attention_mask", "special_tokens_mask"]}
"""What the other way stores of a text: what a store holds too, or all that run_mlm.py stores."""

_NUM_MEMORY_FILES = 10
_RECIPE = "recipes/bert_mini_mlm.yaml"
_LIBRARIES = ("tokenizers", "transformers", "datasets", "pyarrow", "numpy")
_LOADERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".jsonl": ("json", {}),
    ".json": ("json", {}),
    ".csv": ("csv", {}),
    ".parquet": ("parquet", {}),
    ".txt": ("text", {"sample_by": "paragraph"}),
}
_UNITS = {"seconds": "s", "memory_mb": "MB", "cpu_seconds": "CPU s", "disk_mb": "MB on disk"}


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took, its descendants included: MB are 10^6 bytes, memory is the peak of their summed PSS."""

    seconds: float
    memory_mb: float
    cpu_seconds: float
    disk_mb: float


def main() -> None:
    """Measure both ways in turn, or ours at two sizes of corpus, and print medians and ratios."""
    parser = argparse.ArgumentParser(description="Preparing a corpus against tokenizers and datasets.")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILES", help="default: the built-in sample")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--columns", choices=COLUMNS, default="lean", help="what the other way stores of a text")
    parser.add_argument("--memory", action="store_true", help="ours alone, at about 30 MB and 300 MB of text")
    parser.add_argument("--way", choices=["datasets"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    files = [path.resolve() for path in options.files or sorted((ROOT / "data").glob("*.jsonl.gz"))]
    if missing := [str(path) for path in files if not path.is_file()]:
        parser.error(f"no such file: {', '.join(missing)}")
    if options.way:
        print(json.dumps(_prepare_with_datasets(files, COLUMNS[options.columns])))
        return
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    print(f"{_num_cores()} cores, Python {platform.python_version()}, {libraries}", flush=True)
    if options.memory:
        _compare_sizes(files, options.turns)
    else:
        _compare_ways(files, options.turns, options.columns)


def _compare_ways(files: Sequence[Path], turns: int, columns: str) -> None:
    commands = {"ours": _our_command(files), "datasets": _other_command(files, columns)}
    costs: dict[str, list[Cost]] = {way: [] for way in commands}
    for path in files:
        path.read_bytes()  # from the disk once, before anybody's clock runs
    for turn in range(turns):
        for way, command in commands.items():
            costs[way].append(_turn(f"turn {turn + 1}  {way:8}", command))
    _print_summary(costs, ratio=("ours", "datasets"))


def _compare_sizes(files: Sequence[Path], turns: int) -> None:
    names = [f"{size / 1e6:.0f} MB of text" for size in MEMORY_BYTES]
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="preparing-") as folder:
        commands = {}
        for name, size in zip(names, MEMORY_BYTES, strict=True):
            made = write_corpus(Path(folder) / str(size), files, size)
            commands[name] = _our_command(made)
        for turn in range(turns):
            for name, command in commands.items():
                costs[name].append(_turn(f"turn {turn + 1}  {name:15}", command))
    _print_summary(costs, ratio=(names[1], names[0]))


def _turn(title: str, command: Sequence[str]) -> Cost:
    with tempfile.TemporaryDirectory(prefix="preparing-") as folder:
        cost, result = measure(command, Path(folder))
    figures = ", ".join(f"{value:,.1f} {_UNITS[name]}" for name, value in asdict(cost).items())
    print(f"{title}  {figures}; {result['documents']:,} documents, {result['tokens']:,} tokens", flush=True)
    return cost


def _print_summary(costs: dict[str, list[Cost]], *, ratio: tuple[str, str]) -> None:
    print("\n| what | of | median | lowest | highest |\n| --- | --- | --- | --- | --- |")
    titles = {"seconds": "seconds", "memory_mb": "peak memory, MB", "cpu_seconds": "CPU seconds", "disk_mb": "disk, MB"}
    for name, title in titles.items():
        values = {way: [getattr(cost, name) for cost in turns] for way, turns in costs.items()}
        for way, figures in values.items():
            print(f"| {title} | {way} | {spread(figures, '.1f')} |")
        ratios = [a / b for a, b in zip(*(values[way] for way in ratio), strict=True)]
        print(f"| {title} | {' / '.join(ratio)} | {spread(ratios, '.2f')} |")


def _num_cores() -> int:
    return len(os.sched_getaffinity(0))


# ------------------------------------------------------------------------------------------------------------ measuring


def measure(command: Sequence[str], folder: Path) -> tuple[Cost, dict[str, Any]]:
    """Run a command to its end and measure it and all its descendants.

    Args:
        command: a program whose last line on standard output is a JSON object. "{folder}" in it becomes the folder.
        folder: an empty folder; caches, temporary files and what the command prints go there.

    Returns:
        What the command took, and its JSON object.

    Raises:
        SystemExit: the command failed; the message ends with what it wrote to standard error.
    """
    words = [word.replace("{folder}", str(folder)) for word in command]
    (folder / "tmp").mkdir()
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        began = time.perf_counter()
        # A session of its own is how descendants are found, also those whose parent has gone.
        process = subprocess.Popen(
            words, cwd=ROOT, env=_environment(folder), stdout=out, stderr=err, start_new_session=True
        )
        try:
            with _Sampler(process.pid) as sampler:
                _, status, usage = os.wait4(process.pid, 0)
                seconds = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if process.returncode:
        end = (folder / "err").read_text(errors="replace")[-4000:]
        raise SystemExit(f"{' '.join(words)}\nended with status {process.returncode}:\n{end}")
    # What the system accounts leaves out descendants that nobody waited for; what was sampled, their last moments.
    cpu_seconds = max(usage.ru_utime + usage.ru_stime, sampler.cpu_seconds)
    result: dict[str, Any] = json.loads((folder / "out").read_text().splitlines()[-1])
    return Cost(seconds, sampler.peak / 1e6, cpu_seconds, _disk_bytes(folder) / 1e6), result


class _Sampler(threading.Thread):
    """Watches the memory and the CPU time of a session's processes until it is left."""

    def __init__(self, session: int) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._session = session
        self._cpu_seconds: dict[int, float] = {}
        self._ended = threading.Event()

    def __enter__(self) -> "_Sampler":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()

    @property
    def cpu_seconds(self) -> float:
        return sum(self._cpu_seconds.values())

    def run(self) -> None:
        while not self._ended.is_set():
            self.peak = max(self.peak, sum(map(self._pss, psutil.pids())))
            self._ended.wait(SAMPLE_SECONDS)

    def _pss(self, pid: int) -> int:
        """Bytes of a process of the session, 0 of any other; a process may end at any moment."""
        try:
            if os.getsid(pid) != self._session:
                return 0
            process = psutil.Process(pid)
            times = process.cpu_times()
            self._cpu_seconds[pid] = times.user + times.system
            return int(process.memory_full_info().pss)
        except (ProcessLookupError, psutil.NoSuchProcess, psutil.AccessDenied):
            return 0


def _environment(folder: Path) -> dict[str, str]:
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    return os.environ | offline | {"HF_HOME": str(folder / "hf"), "TMPDIR": str(folder / "tmp")}


def _disk_bytes(folder: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


# --------------------------------------------------------------------------------------------------------- the two ways


def _our_command(files: Sequence[Path]) -> list[str]:
    corpus = {"files": [str(path) for path in files], "held_out": 0.0}
    overrides = [f"corpus={json.dumps(corpus)}", f"tokenizer={{name: wordpiece, vocab_size: {VOCAB_SIZE}}}"]
    untrained = ["evaluate.every_steps=null", "checkpoint.best=null"]
    return [sys.executable, "-m", "pretrain.prepare", _RECIPE, *overrides, *untrained, "cache_dir={folder}/cache"]


def _other_command(files: Sequence[Path], columns: str) -> list[str]:
    paths = [str(path) for path in files]
    return [sys.executable, "-m", "benchmarks.preparing", "--way", "datasets", "--columns", columns, *paths]


def _prepare_with_datasets(files: Sequence[Path], columns: list[str]) -> dict[str, int]:
    from datasets import concatenate_datasets
    from tokenizers import BertWordPieceTokenizer
    from transformers import PreTrainedTokenizerFast

    texts = concatenate_datasets([_load_texts(path) for path in files])
    draft = BertWordPieceTokenizer(lowercase=True)
    batches = (batch["text"] for batch in texts.iter(1000))
    draft.train_from_iterator(batches, vocab_size=VOCAB_SIZE, show_progress=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=draft._tokenizer)

    def tokenize(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        wanted = {f"return_{column}": column in columns for column in COLUMNS["run_mlm"][1:]}
        return dict(tokenizer(batch["text"], **wanted))

    def group_texts(batch: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        whole = {column: list(itertools.chain.from_iterable(lists)) for column, lists in batch.items()}
        starts = range(0, len(whole["input_ids"]) // LENGTH * LENGTH, LENGTH)
        return {column: [ids[i : i + LENGTH] for i in starts] for column, ids in whole.items()}

    tokens = texts.map(tokenize, batched=True, num_proc=_num_cores(), remove_columns=texts.column_names)
    blocks = tokens.map(group_texts, batched=True, num_proc=_num_cores())
    return {"documents": len(texts), "tokens": len(blocks) * LENGTH}


def _load_texts(path: Path) -> Any:
    """The texts of a file as a datasets.Dataset with the column "text" alone."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError

    kind = (path.with_suffix("") if path.suffix in (".gz", ".zst") else path).suffix
    loader, arguments = _LOADERS[kind]
    try:
        loaded = load_dataset(loader, data_files=str(path), split="train", **arguments)
    except DatasetGenerationError:
        if loader != "json":
            raise
        # Rows with differing columns are only read where a single chunk has them all.
        loaded = load_dataset(loader, data_files=str(path), split="train", chunksize=1 << 30)
    return loaded.select_columns(["text"])


# ------------------------------------------------------------------------------------------------- corpora of two sizes


def write_corpus(folder: Path, files: Sequence[Path], num_bytes: int) -> list[Path]:
    """Write `num_bytes` of the texts of files, as UTF-8, into ten .jsonl.gz files of about one size.

    The texts are taken from the start again as often as is needed and the last is cut; every document has a heading
    of its own. Both sizes are ten files, so that as many cores find work.
    """
    folder.mkdir()
    paths = [folder / f"part-{number}.jsonl.gz" for number in range(_NUM_MEMORY_FILES)]
    documents = _distinct_texts(files)
    for path in paths:
        left = num_bytes // _NUM_MEMORY_FILES
        with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as stream:
            while left > 0:
                text = next(documents).encode()[:left].decode(errors="ignore")
                left = left - len(text.encode()) if text.strip() else 0
                stream.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    return paths


def _distinct_texts(files: Sequence[Path]) -> Iterator[str]:
    from tokenization.corpus import Corpus, Problems, read_documents, resolve_sources

    corpus = Corpus(files=tuple(map(str, files)), held_out=0.0)
    found = resolve_sources(corpus).train
    for copy in itertools.count(1):
        for number, document in enumerate(read_documents(found, corpus, Problems("skip")), start=1):
            yield f"Copy {copy} of document {number}.\n\n{document.text}"


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
