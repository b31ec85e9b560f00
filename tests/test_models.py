"""What MODEL may be: names that differ, the folder that is meant, and where results go."""

from pathlib import Path

import pytest

from probes.models import default_out, model_folder, models_of
from probes.probe_error import ProbeError
from tests.probe_models import save_model


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with its finished model and a checkpoint; empty but for what tells them apart."""
    run = tmp_path / "mine"
    for home in (run, run / "checkpoints" / "step-00000010"):
        (home / "model").mkdir(parents=True)
        (home / "model" / "config.json").write_text("{}")
        (home / "recipe.yaml").write_text("")
    return run


def test_a_run_and_a_checkpoint_mean_the_model_inside(run: Path, tmp_path: Path) -> None:
    checkpoint = run / "checkpoints" / "step-00000010"
    assert model_folder(str(run)) == model_folder(str(run / "model")) == run / "model"
    assert model_folder(str(checkpoint)) == checkpoint / "model"
    assert model_folder("some/hub-id") == Path("some/hub-id")


def test_models_have_short_names_that_differ(run: Path, tmp_path: Path) -> None:
    checkpoint = run / "checkpoints" / "step-00000010"
    paths = [str(run), str(checkpoint), str(run / "model"), str(tmp_path / "plain"), "bert-base-uncased"]
    assert [model.name for model in models_of(paths)] == ["mine", "mine@10", "mine-2", "plain", "bert-base-uncased"]


def test_no_model_has_the_name_of_a_baseline(tmp_path: Path) -> None:
    paths = [str(tmp_path / "random weights"), str(tmp_path / "chance")]
    assert [model.name for model in models_of(paths)] == ["random weights-2", "chance-2"]


def test_results_go_beside_the_model_of_a_run_and_never_into_a_checkpoint(run: Path, tmp_path: Path) -> None:
    checkpoint = run / "checkpoints" / "step-00000010"
    assert default_out(models_of([str(run)])) == default_out(models_of([str(run / "model")])) == run / "probes"
    assert default_out(models_of([str(checkpoint)])) == run / "probes" / "step-00000010"
    for several in ([str(run), str(run)], [str(tmp_path / "plain")], []):
        assert default_out(models_of(several)) == Path("probes-out")


def test_a_card_says_what_was_probed(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "r" / "checkpoints" / "step-00000030" / "model")
    (model,) = models_of([str(folder.parent)])
    source = model.open()
    card = model.card(source)
    assert (card.name, card.step, card.num_layers, card.hidden_size) == ("r@30", 30, 2, 16)
    assert card.model_type == "bert" and card.num_parameters == source.num_parameters > 0


def test_word_vectors_are_known_by_their_file(tmp_path: Path) -> None:
    path = tmp_path / "glove.txt"
    path.write_text("bank 1 0\nriver 0 1\n")
    (model,) = models_of([str(path)])
    assert model.is_word_vectors and model.open().num_layers == 0
    with pytest.raises(ProbeError):
        model.open_encoder()
