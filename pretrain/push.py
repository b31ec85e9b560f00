"""python -m pretrain.push RUN|MODEL REPO [--private]: upload a run's finished model to the Hugging Face hub.

Of a run, its model; a model folder is uploaded itself, such as RUN/generator.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled

from encoders.config import EncoderError
from pretrain.commands import guarded

_WHY_NOT = (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled, ConnectionError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Upload a finished model; gives the exit status."""
    parser = argparse.ArgumentParser(prog="pretrain.push", description="Upload a run's finished model to the hub.")
    parser.add_argument("run", type=Path, help="a run directory, or a model folder such as RUN/generator")
    parser.add_argument("repo", help="OWNER/NAME on the hub")
    parser.add_argument("--private", action="store_true", help="make the repository private if it is made now")
    options = parser.parse_args(arguments)
    return guarded(lambda _: print(push(options.run, options.repo, private=options.private, api=HfApi())))


def push(run: Path, repo: str, *, private: bool, api: HfApi) -> str:
    """Upload a model folder with its card and give the address.

    Args:
        run: a run directory, of which the finished model is taken, or a model folder.
        api: the hub.

    Raises:
        EncoderError: the run has no finished model, or the hub refuses.
    """
    model = run if (run / "config.json").exists() else run / "model"
    if (run / "progress.json").exists():
        raise EncoderError(
            f"{run} is a checkpoint, expected a run with a finished model or one of its model folders. Let the run end "
            "before you push it."
        )
    if not (model / "config.json").exists():
        raise EncoderError(f"{run} has no finished model, expected {model}. Let the run end before you push it.")
    try:
        url = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(folder_path=model, repo_id=repo, commit_message=f"Upload {run.name}")
    except _WHY_NOT as error:
        raise EncoderError(
            f"the hub did not take {repo} ({str(error).splitlines()[0]}), expected to be let in. Log in with "
            "`hf auth login`, check the name (OWNER/NAME) and the network, and push again."
        ) from error
    return str(url)


if __name__ == "__main__":
    sys.exit(main())
