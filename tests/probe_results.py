"""Results like those of the probes, made up: for tests of what shows them, without a model or a probe."""

import json
from pathlib import Path

import numpy as np

from probes.results import (
    Map,
    Measure,
    ModelCard,
    Picture,
    Point,
    Projection,
    Results,
    Score,
    Table,
    write_results,
)

WORDS = ("bank", "bass", "crane", "java", "seal")
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


def card(name: str, *, num_layers: int = 6, step: int | None = None) -> ModelCard:
    return ModelCard(
        name=name,
        path=f"runs/{name}/model",
        model_type="bert",
        num_layers=num_layers,
        hidden_size=256,
        num_parameters=11_171_074,
        step=step,
    )


def score(measure: str, model: str, value: float, width: float = 0.05, **more: object) -> Score:
    fields = {"n": 200, **more}
    return Score(measure=measure, model=model, value=value, low=value - width, high=value + width, **fields)


def senses_like(
    names: tuple[str, ...] = ("mini", "small", "minilm"),
    *,
    words: tuple[str, ...] = WORDS,
    num_layers: int = 6,
    num_points: int = 40,
    steps: tuple[int | None, ...] = (),
    quality: float = 0.7,
) -> Results:
    """Accuracy and a difference of cosines by layer, word and model, with baselines, pictures, tables and maps."""
    rng = np.random.default_rng(0)
    scores = [
        score("accuracy", "static vector", 0.341, 0.0),
        score("accuracy", "majority sense", 0.5, 0.0),
        score("accuracy", "context, TF-IDF", 0.612, 0.04),
    ]
    for index, name in enumerate(names):
        for layer in range(num_layers + 1):
            value = quality + 0.03 * index + 0.04 * layer / num_layers - 0.1 * (layer == 0)
            scores.append(score("accuracy", name, value, layer=layer))
            scores.append(
                score("accuracy", f"random weights of {name}", 0.5 + 0.01 * layer, layer=layer, role="baseline")
            )
            scores.append(score("margin", name, 0.02 * (layer + index), 0.01, layer=layer))
            for word in words:
                scores.append(score("accuracy", name, value - 0.1 * rng.random(), 0.1, layer=layer, group=word, n=40))
    scores[:3] = [one.model_copy(update={"role": "baseline"}) for one in scores[:3]]
    last = [one for one in scores if one.group is None and one.layer in (num_layers, None)]
    differences = [
        score("accuracy", f"{left} - {right}", 0.03 * (1 + at), 0.04, role="difference", layer=num_layers)
        for at, (left, right) in enumerate(zip(names[1:], names, strict=False))
    ]
    return Results(
        probe="senses",
        question="Do vectors of a word tell its senses apart?",
        answer=[
            f"In the last layer of {names[-1]}, {100 * quality:.0f} % of the sentences have a nearest neighbour of the"
            " same sense; the static vector reaches 34.1 %.",
            "The words differ: bank is easy, bass is hard.",
        ],
        models=[
            card(name, num_layers=num_layers, step=step)
            for name, step in zip(names, steps or (None,) * len(names), strict=True)
        ],
        measures={
            "accuracy": Measure(title="Nearest neighbour has the same sense", unit="share"),
            "margin": Measure(title="Cosine to the same sense minus to others", unit="cosine"),
        },
        headlines=last + differences,
        scores=scores + differences,
        tables=[
            Table(
                name="neighbours",
                title="Nearest sentences",
                columns=["sentence", "nearest", "cosine"],
                rows=[
                    [f"Sentence {row} about the bank.", "Another sentence.", 0.91234567 - row / 100]
                    for row in range(20)
                ],
            )
        ],
        pictures=[
            Picture(file=f"senses_{name}_{word}.png", caption=f"{name}, {word}: cosines.", kind="heatmap", group=word)
            for name in names[:1]
            for word in words
        ],
        maps=[_map(name, word, num_layers, num_points, rng) for word in words for name in names],
        notes=["Accuracy counts ties by their share.", "Intervals say nothing of other words."],
        data={
            "file": "senses.tsv",
            "sha256": "ab" * 32,
            "n": 200,
            "words": {word: {"one": 20, "two": 20} for word in words},
        },
        settings={"seed": 0, "num_resamples": 2000},
        command=f"python -m probes senses {' '.join(names)}",
        seconds=12.5,
        versions={"python": "3.11", "torch": "2.13.0"},
    )


def _map(model: str, word: str, num_layers: int, num_points: int, rng: np.random.Generator) -> Map:
    points = [
        Point(
            text=f"We walked along the {word} for {row} hours before anybody in the party said a single word about it.",
            span=(20, 20 + len(word)),
            group=f"{word}: sense {row % 3}",
        )
        for row in range(num_points)
    ]
    layers = {}
    for layer in range(num_layers + 1):
        centres = layer * np.array([[row % 3, (row % 3) ** 2, 0] for row in range(num_points)])
        at = rng.normal(size=(num_points, 3)) + centres
        layers[layer] = Projection(
            pca=[tuple(row) for row in at.tolist()],
            tsne=[tuple(row) for row in at[:, :2].tolist()],
            variance=(0.31, 0.2, 0.1),
        )
    return Map(title=f"{word}, {model}", model=model, points=points, layers=layers, group=word)


def classify_like() -> Results:
    """Variants, no layers, a confusion matrix."""
    rows = [
        score("accuracy", "mini", 0.85 + 0.01 * at, 0.02, variant=variant, n=1000)
        for at, variant in enumerate(("last layer", "[CLS]", "mixed by trainable weights"))
    ]
    rows += [score("accuracy", name, 0.88, 0.02, role="baseline", n=1000) for name in ("bag of words", "TF-IDF")]
    rows += [one.model_copy(update={"measure": "f1", "n": 990}) for one in rows]
    return Results(
        probe="classify",
        question="Do frozen vectors of a text tell its class?",
        answer=["The best way of mixing reaches 87 %; TF-IDF 88 %, so the encoder adds nothing here."],
        models=[card("mini")],
        measures={
            "accuracy": Measure(title="Accuracy", unit="share"),
            "f1": Measure(title="Macro-F1", unit="share"),
        },
        headlines=rows,
        scores=rows,
        tables=[
            Table(
                name="confusion",
                title="Confusion matrix",
                columns=["class", "World", "Sports"],
                rows=[["World", 90, 10], ["Sports", 3, 97]],
                model="mini",
            )
        ],
        command="python -m probes classify mini --texts news.csv",
    )


def minimal_pairs_like(num_paradigms: int = 20) -> Results:
    """Many groups without layers."""
    rng = np.random.default_rng(1)
    overall = [score("accuracy", name, value, 0.02, n=1340) for name, value in (("mini", 0.61), ("small", 0.7))]
    overall.append(score("accuracy", "small - mini", 0.09, 0.03, n=1340, role="difference"))
    groups = [
        score("accuracy", name, float(rng.uniform(0.4, 0.9)), 0.08, n=20, group=f"wh_questions_object_gap_{number}")
        for number in range(num_paradigms)
        for name in ("mini", "small")
    ]
    return Results(
        probe="minimal_pairs",
        question="Does it prefer the grammatical one of two sentences?",
        answer=["small prefers the grammatical sentence in 70 % of the pairs."],
        models=[card("mini"), card("small")],
        measures={"accuracy": Measure(title="Grammatical sentence preferred", unit="share")},
        headlines=overall,
        scores=overall + groups,
        data={"file": "blimp.jsonl", "sha256": "cd" * 32, "n": 1340},
    )


def write(results: Results, folder: Path, *, with_pictures: bool = True) -> Path:
    """The results as a command writes them, with their pictures; returns the JSON file."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in results.pictures if with_pictures else []:
        (folder / picture.file).write_bytes(PIXEL)
    return write_results(results, folder)


def write_metrics(run: Path, *, num_steps: int = 30) -> None:
    """metrics.jsonl of a run with one evaluation."""
    lines: list[dict[str, object]] = [
        {
            **{"step": step, "tokens": step * 1000, "elapsed_seconds": step * 2.0, "tokens_per_second": 500.0},
            **{"learning_rate": 0.001 / step, "grad_norm": 1.0, "loss/mlm_nats": 9 - step / 10, "accuracy/mlm": 0.1},
        }
        for step in range(1, num_steps + 1)
    ]
    lines.append({"step": num_steps, "eval/mlm_nats": 6.125, "eval/accuracy/mlm": 0.25})
    (run / "metrics.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\n", encoding="utf-8")


def write_run(run: Path, *, steps: tuple[int, ...] = (10, 20, 30)) -> Path:
    """A run with metrics, a recipe, results at its steps and of its finished model."""
    run.mkdir(parents=True, exist_ok=True)
    write_metrics(run)
    (run / "recipe.yaml").write_text("name: mini\n", encoding="utf-8")
    for at, step in enumerate(steps):
        found = senses_like((f"mini@{step}",), words=("bank",), num_points=6, steps=(step,), quality=0.5 + 0.05 * at)
        write(found.model_copy(update={"maps": [], "pictures": []}), run / "probes" / f"step-{step:08d}")
    write(senses_like(("mini",), words=("bank", "bass"), num_points=12), run / "probes")
    return run
