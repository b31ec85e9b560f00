"""What must hold between the sections of a recipe, or within one where its own class does not see to it."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from encoders.config import Bert, EncoderFolder, ModernBert
from objectives.masking import ElectraReferenceMasking
from objectives.masks.rates import RunSchedule, Uniform
from objectives.replaced_token_detection import ReplacedTokenDetectionSettings
from pretrain.recipe_problems import Problem, did_you_mean, got
from pretrain.schedule import Trapezoidal

_QUESTIONS = {
    "mlm_nsp": ("whether B follows A", "sentence_pairs"),
    "mlm_sop": ("whether A and B are in order", "sentence_order"),
}
"""What an objective asks about pairs, and the cutting that gives the answers."""


def between_sections(sections: Mapping[str, Any]) -> Iterator[Problem]:
    """The problems that need two sections to see, as far as both are valid.

    Args:
        sections: the settings of each section, or None or anything else in the place of one that is not valid.
    """

    def valid(section: str) -> Any:
        return settings if isinstance(settings := sections.get(section), BaseModel) else None

    yield from _pairs_problems(valid("objective"), valid("examples"))
    yield from _length_problems(valid("examples"), valid("encoder"))
    yield from _heads_problems(valid("encoder"))
    yield from _detection_problems(valid("objective"), valid("encoder"))
    yield from _schedule_problems(valid("schedule"), valid("train"))
    yield from _rate_problems(valid("masking"), valid("objective"), valid("train"))
    yield from _weighting_problems(valid("masking"), valid("objective"))
    yield from _keep_problems(valid("checkpoint"))
    yield from _held_out_problems(valid("corpus"), valid("evaluate"), valid("checkpoint"))
    yield from _metric_problems(valid("objective"), valid("checkpoint"))


def _pairs_problems(objective: Any, examples: Any) -> Iterator[Problem]:
    if not (objective and examples and objective.name in _QUESTIONS):
        return  # without a question about its pairs a cutting is as good as any other
    question, expected = _QUESTIONS[objective.name]
    if examples.name != expected:
        others = [name for name, (_, cutting) in _QUESTIONS.items() if cutting == examples.name]
        yield Problem(
            "examples.name",
            f"got {examples.name!r} with objective {objective.name}, which asks {question}, expected {expected}; "
            f"change it, or set objective.name to {' or '.join([*others, 'mlm'])}",
        )


def _length_problems(examples: Any, encoder: Any) -> Iterator[Problem]:
    most = getattr(encoder, "max_position_embeddings", None)  # of a folder it is known when its config is read
    if examples and most and examples.max_seq_length > most:
        yield Problem(
            "examples.max_seq_length",
            f"got {examples.max_seq_length}, expected at most encoder.max_position_embeddings = {most}; "
            "lower the one or raise the other",
        )


def _heads_problems(encoder: Any) -> Iterator[Problem]:
    if isinstance(encoder, Bert | ModernBert) and encoder.hidden_size % encoder.num_attention_heads:
        yield Problem(
            "encoder.hidden_size",
            f"got {encoder.hidden_size} with {encoder.num_attention_heads} attention heads, expected a multiple of "
            "encoder.num_attention_heads; change one of them",
        )


def _detection_problems(objective: Any, encoder: Any) -> Iterator[Problem]:
    if not isinstance(objective, ReplacedTokenDetectionSettings):
        return
    if getattr(encoder, "name", None) == "bert":
        yield Problem(
            "encoder.name",
            "got bert with objective replaced_token_detection, expected electra or modernbert; "
            "name electra is the same body (embedding_size left out is hidden_size)",
        )
    if objective.generator_from and encoder and not isinstance(encoder, EncoderFolder) and objective.sharing != "none":
        yield Problem(
            "objective.generator_from",
            f"got a folder with sharing {objective.sharing} beside a fresh encoder, whose words would replace the "
            "folder's, expected encoder: {from: FOLDER} as well; set that, or objective.sharing to none",
        )
    is_narrower = objective.generator_from is None and objective.generator_fraction < 1.0
    if isinstance(encoder, ModernBert) and is_narrower and objective.sharing != "none":
        yield Problem(
            "objective.generator_fraction",
            f"got {objective.generator_fraction} with sharing {objective.sharing} on a ModernBERT, whose embeddings "
            "are as wide as its layers, expected 1.0; set that and a smaller objective.generator_num_hidden_layers, or "
            "set objective.sharing to none",
        )


def _schedule_problems(schedule: Any, train: Any) -> Iterator[Problem]:
    if not (schedule and train and train.steps):
        return
    if schedule.warmup_steps >= train.steps:
        yield Problem(
            "schedule.warmup_steps",
            f"got {schedule.warmup_steps}, expected fewer than train.steps = {train.steps}; lower it, or train longer",
        )
    elif isinstance(schedule, Trapezoidal) and train.steps - schedule.warmup_steps < round(
        schedule.decay_fraction * train.steps, 6
    ):
        yield Problem(
            "schedule.decay_fraction",
            f"got {schedule.decay_fraction} after {schedule.warmup_steps} warm-up steps of {train.steps}, expected the "
            "fall to begin once the warm-up is over; lower one of them",
        )


def _rate_problems(masking: Any, objective: Any, train: Any) -> Iterator[Problem]:
    if masking and train and train.hours is not None and isinstance(masking.mlm_probability, RunSchedule):
        yield Problem(
            "masking.mlm_probability",
            f"got schedule {masking.mlm_probability.schedule} with train.hours, by which the masks would depend on how "
            "fast the machine is, expected a budget of steps, epochs or tokens; set one, or give a number",
        )
    weighting = getattr(objective, "target_weighting", "none")
    if masking and weighting == "inverse_probability" and not isinstance(masking.mlm_probability, Uniform):
        yield Problem(
            "objective.target_weighting",
            "got inverse_probability, which weighs each row by the rate that was drawn for it, expected "
            "masking.mlm_probability: {schedule: uniform}; set that, or set objective.target_weighting to none",
        )


def _weighting_problems(masking: Any, objective: Any) -> Iterator[Problem]:
    if not masking or getattr(objective, "target_weighting", "none") != "inverse_probability":
        return
    wrong = {
        "name": (masking.name if isinstance(masking, ElectraReferenceMasking) else None, "choose another"),
        "max_predictions": (getattr(masking, "max_predictions", None), "leave it out"),
    }
    for key, (value, remedy) in wrong.items():
        if value is not None:
            yield Problem(
                f"masking.{key}",
                f"got {value} with objective.target_weighting inverse_probability, which needs each row to have the "
                f"targets of its rate, each once; {remedy}, or set objective.target_weighting to none",
            )


def _keep_problems(checkpoint: Any) -> Iterator[Problem]:
    if not (checkpoint and checkpoint.keep_every is not None):
        return
    every = checkpoint.every_steps
    if every is None or checkpoint.keep_every % every:
        expected = f"expected a multiple of checkpoint.every_steps = {every}" if every else "expected it to be set"
        yield Problem(
            "checkpoint.keep_every",
            f"got {checkpoint.keep_every}{'' if every else ' without checkpoint.every_steps'}, {expected}, as only "
            "checkpoints that are written can be kept; change one of them, or leave it out",
        )


def _held_out_problems(corpus: Any, evaluate: Any, checkpoint: Any) -> Iterator[Problem]:
    if not (corpus and corpus.held_out == 0):
        return
    needing = {
        "evaluate.every_steps": evaluate and evaluate.every_steps,
        "checkpoint.best": checkpoint and checkpoint.best,
    }
    for path, value in needing.items():
        if value is not None:
            text = f"got {value} with corpus.held_out = 0, expected held-out documents to score"
            yield Problem(path, f"{text}; hold some out, or leave it out")


def _metric_problems(objective: Any, checkpoint: Any) -> Iterator[Problem]:
    if not (objective and checkpoint and checkpoint.best is not None):
        return
    metrics = [metric for term in objective.terms for metric in (f"eval/{term}_nats", f"eval/accuracy/{term}")]
    metrics += [f"eval/{figure}" for figure in objective.figures]
    if checkpoint.best not in metrics:
        expected = f"expected what objective {objective.name} reports: {', '.join(metrics)}"
        text = f"got {got(checkpoint.best)}, {expected}{did_you_mean(checkpoint.best, metrics)}"
        yield Problem("checkpoint.best", text)
