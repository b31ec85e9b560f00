"""What every command shares: how it ends, and which errors are the user's."""

import json
import logging
import shutil
import sys
from collections.abc import Callable
from typing import Any

import transformers
from huggingface_hub.utils.tqdm import disable_progress_bars

from encoders.config import EncoderError
from objectives.rows import ExamplesError
from pretrain.checkpoints.checkpoint import REFUSALS, CheckpointError
from pretrain.checkpoints.lock import LockError
from pretrain.distributed.launchers import LaunchError
from pretrain.distributed.processes import ProcessesError
from pretrain.distributed.signals import Interrupted, Signals, end_at_once
from pretrain.loop import TrainingError
from pretrain.metrics import MetricsError
from pretrain.recipe import RecipeError
from probes.probe_error import ProbeError
from tokenization.corpus import CorpusError
from tokenization.store import StoreError
from tokenization.vocabulary import VocabularyError

USER_MISTAKES = (
    CheckpointError,
    CorpusError,
    EncoderError,
    ExamplesError,
    LaunchError,
    LockError,
    MetricsError,
    ProbeError,
    RecipeError,
    StoreError,
    TrainingError,
    VocabularyError,
)
MISTAKE = 2


def guarded(work: Callable[[Signals], None], signals: Signals | None = None) -> int:
    """Do a command's work and give its exit status.

    Args:
        signals: that are caught already; None: they are from now on.

    Returns:
        0 done; 2 the user's mistake, said in one message on standard error; 143 after SIGTERM, 130 after SIGINT.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    disable_progress_bars()
    if signals is None:
        signals = Signals()
        signals.install()
    try:
        work(signals)
    except USER_MISTAKES as error:
        print(f"error: {error}", file=sys.stderr)
        return MISTAKE
    except ProcessesError as error:
        print(f"error: {error}", file=sys.stderr)
        end_at_once(MISTAKE)
    except OSError as error:
        if error.errno not in REFUSALS and not isinstance(error, shutil.Error):
            raise
        place = f" ({error.filename})" if error.filename else ""
        print(
            f"error: the disk refused{place}: {error.strerror or error}; expected room and the right to write. "
            "Make room and give that right, and launch the same command again: checkpoints are as they were.",
            file=sys.stderr,
        )
        return MISTAKE
    except Interrupted as interruption:
        print(f"{interruption}; {interruption.again}", file=sys.stderr)
        return interruption.status
    return 0


def option(text: str) -> tuple[str, Any]:
    """An executor's key=value, the value a number, true, false or null where it reads as one, else text.

    Raises:
        RecipeError: there is no =.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise RecipeError(f"--option: got {text!r}, expected key=value.")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
