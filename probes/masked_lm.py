"""A masked language model asked what stands at a masked position: probabilities of tokens, in batches of like length.

Only the logits of the positions asked for are computed: the body reads whole rows, the head sees those positions alone.
The body may run in bfloat16; the head, the softmax and the results are float32.
"""

# Q questions, R different rows among them, B rows of a batch, T tokens of the longest, M questions of a batch,
# D hidden size, V vocabulary

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probes.embedders import Embedder
from probes.loading import MissingWeights, explained, load_model, random_model, transformer_folder
from probes.models import Model
from probes.networks import Encoded, Inputs, Network, Precision, excerpt
from probes.probe_error import ProbeError

if TYPE_CHECKING:
    import torch

CLASS = "AutoModelForMaskedLM"
TOLERANCE = 1e-4
"""Most that a logit may move when the head sees its position alone; heads that look beyond move far more."""


class Question(NamedTuple):
    """What stands at this position of this row?"""

    inputs: Inputs
    position: int


class MaskedLM:
    """A transformers encoder with its head of masked language modelling, and its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any, *, name: str, precision: Precision = "float32") -> None:
        """
        Args:
            model: any transformers class that gives logits over the vocabulary, set to evaluation.
            tokenizer: its fast tokenizer, with a mask token.
            name: how messages call it.
            precision: of the body's arithmetic.

        Raises:
            ProbeError: the tokenizer has no mask token.
        """
        if tokenizer.mask_token_id is None:
            raise ProbeError(
                f"{name}: its tokenizer has no mask token, expected one, as models of masked language have. Save the"
                " tokenizer that the model was trained with into its folder."
            )
        self.name = name
        self.network = Network(model, tokenizer, name=name, precision=precision)
        self.mask_token: str = tokenizer.mask_token
        self.mask_id: int = tokenizer.mask_token_id
        self._body = model.base_model if self._head_sees_each_position_alone() else None

    @classmethod
    def from_folder(cls, path: str | Path, *, precision: Precision = "float32") -> "MaskedLM":
        """The trained masked language model of a transformers folder (or hub id).

        Raises:
            ProbeError: as load_model; a model without a trained head of masked language modelling.
        """
        _check_kind(path)
        try:
            model, tokenizer = load_model(path, CLASS)
        except MissingWeights as error:
            raise ProbeError(_headless(path)) from error
        return cls(model, tokenizer, name=str(path), precision=precision)

    @classmethod
    def random(cls, path: str | Path, seed: int, *, precision: Precision = "float32") -> "MaskedLM":
        """The same architecture and tokenizer with newly drawn weights; torch's own generator is left as it was."""
        _check_kind(path)
        model, tokenizer = random_model(path, seed, CLASS)
        return cls(model, tokenizer, name=f"{path} with random weights", precision=precision)

    @property
    def encoder(self) -> Embedder:
        """The same network without its head, for what stands of it in the results."""
        network = self.network
        return Embedder(network.model.base_model, network.tokenizer, name=self.name)

    def encode(self, sentences: Sequence[str], *, names: Sequence[str] | None = None) -> list[Encoded]:
        """The model's inputs for each sentence, whole.

        Args:
            names: how messages call each sentence; None: by its number.

        Raises:
            ProbeError: a sentence that is longer than what the model reads.
        """
        encoded = self.network.encode(sentences)
        for index, (sentence, one) in enumerate(zip(sentences, encoded, strict=True)):
            if one.is_cut:
                name = names[index] if names else f"sentence {index + 1}"
                raise ProbeError(
                    f"{self.name}: {name} ({excerpt(sentence)}) has more than the {self.network.max_length} tokens"
                    " that the model reads, expected a sentence that it reads whole. Shorten or leave it out."
                )
        return encoded

    def log_probabilities(
        self, questions: Sequence[Question], answers: Sequence[int], *, batch_size: int | None = None
    ) -> NDArray[np.float64]:
        """The logarithm of the probability of each answer, in nats.

        Args:
            questions: Q of them; rows that are equal are read once.
            answers: a token id for each.
            batch_size: rows of one pass, None: as many as make networks.PASS_TOKENS; it changes the speed only.

        Returns:
            (Q,) float64, computed in float32.

        Raises:
            ProbeError: logits that are NaN, infinite or too far apart for float32.
        """
        found = np.empty(len(questions))
        for numbers, log_MV in self._passes(questions, batch_size):
            chosen = log_MV.gather(1, log_MV.new_tensor([answers[n] for n in numbers]).long()[:, None])[:, 0]
            found[numbers] = chosen.cpu().numpy()
        return found

    def distributions(self, questions: Sequence[Question], *, batch_size: int | None = None) -> NDArray[np.float32]:
        """The logarithms of the probabilities of all tokens, (Q, V) float32, in nats; errors as log_probabilities."""
        found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(questions)
        for numbers, log_MV in self._passes(questions, batch_size):
            for number, log_V in zip(numbers, log_MV.cpu().numpy(), strict=True):
                found[number] = log_V
        return np.stack(found)

    def _passes(
        self, questions: Sequence[Question], batch_size: int | None
    ) -> Iterator[tuple[list[int], "torch.Tensor"]]:
        """Numbers of the questions of each batch, and their (M, V) float32 logarithms of probabilities."""
        import torch

        asked: dict[tuple[int, ...], list[int]] = {}
        for number, question in enumerate(questions):
            asked.setdefault(tuple(question.inputs["input_ids"]), []).append(number)
        rows = list(asked)
        for batch in self.network.batches([len(row) for row in rows], batch_size):
            numbers = [asked[rows[index]] for index in batch]
            inputs = self.network.padded([questions[some[0]].inputs for some in numbers])
            row_M = torch.tensor([row for row, some in enumerate(numbers) for _ in some])
            flat = [number for some in numbers for number in some]
            position_M = torch.tensor([questions[number].position for number in flat])
            with torch.inference_mode():
                log_MV = self._logits(inputs, row_M, position_M).float().log_softmax(-1)
            self._check_finite(log_MV)
            yield flat, log_MV

    def _check_finite(self, log_MV: "torch.Tensor") -> None:
        if not log_MV.isfinite().all():
            raise ProbeError(
                f"{self.name}: got predictions that are no finite numbers, expected a probability for every token. Its"
                " weights hold NaN or infinity, or overflow: name another model or checkpoint, or try --precision"
                " float32."
            )

    def _logits(
        self, inputs: dict[str, "torch.Tensor"], row_M: "torch.Tensor", position_M: "torch.Tensor"
    ) -> "torch.Tensor":
        """(M, V) of these positions of these rows."""
        if self._body is None:
            with self.network.arithmetic():
                logits: torch.Tensor = self.network.model(**inputs).logits[row_M, position_M]
            return logits
        with self.network.arithmetic():
            hidden_BTD = self._body(**inputs)[0]
        return self._head(inputs, hidden_BTD[row_M, position_M].float())

    def _head(self, inputs: dict[str, "torch.Tensor"], hidden_MD: "torch.Tensor") -> "torch.Tensor":
        """What the model's own forward makes of hidden states, (M, V): it is run with a body that gives these back."""
        from transformers.modeling_outputs import BaseModelOutput

        with _replaced(self.network.model.base_model, BaseModelOutput(last_hidden_state=hidden_MD[None])):
            logits: torch.Tensor = self.network.model(**inputs).logits[0]
        return logits

    def _head_sees_each_position_alone(self) -> bool:
        """Whether the head may be run on single positions: tried on a short row, since any class may come."""
        import torch

        model, tried = self.network.model, [1, 3]
        if model.base_model is model:
            return False
        # Different tokens, as far as the vocabulary goes.
        ids = [self.mask_id, *(one % model.config.vocab_size for one in range(5, 10))]
        row = {key: ids if key == "input_ids" else [0] * len(ids) for key in self.network.keys}
        inputs = self.network.padded([row])
        with torch.inference_mode():
            whole = model(**inputs).logits[0, tried]
            try:
                alone = self._head(inputs, model.base_model(**inputs)[0][0, tried])
            except Exception:  # a class that does more with its body's output than giving it to a head
                return False
        return alone.shape == whole.shape and torch.allclose(alone, whole, rtol=0, atol=TOLERANCE)


def open_masked_lm(model: Model) -> MaskedLM:
    """The masked language model that a user named.

    Raises:
        ProbeError: as MaskedLM.from_folder; word vectors.
    """
    return MaskedLM.from_folder(_checked(model).path, precision=model.precision)


def open_random_masked_lm(model: Model, seed: int) -> MaskedLM:
    """The same architecture and tokenizer with newly drawn weights."""
    return MaskedLM.random(_checked(model).path, seed, precision=model.precision)


def _checked(model: Model) -> Model:
    if model.is_word_vectors:
        raise ProbeError(
            f"{model.path} holds word vectors, which predict no masked word. Expected a model of masked language. Name"
            " a transformers folder, a run or a checkpoint."
        )
    return model


def _check_kind(path: str | Path) -> None:
    """See to it that transformers has a class of masked language modelling for this folder."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    folder = transformer_folder(path)
    with explained(path):
        kind = AutoConfig.from_pretrained(
            folder, local_files_only=Path(folder).is_dir(), trust_remote_code=False
        ).model_type
    if kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        raise ProbeError(
            f"{path} is a {kind}, which has no head of masked language modelling in transformers. Expected a model that"
            " was trained to predict masked tokens. Name one."
        )


def _headless(path: str | Path) -> str:
    generator = Path(path).parent / "generator"
    advice = (
        f"This run's generator has one: name {generator}."
        if (generator / "config.json").is_file()
        else "Name a model that was saved with that head (of an ELECTRA run: its generator/ folder)."
    )
    return (
        f"{path}: its weights lack the head of masked language modelling (an ELECTRA discriminator and a bare encoder"
        " have none), so its predictions would be random. Expected a model that was trained to predict masked tokens."
        f" {advice}"
    )


@contextmanager
def _replaced(module: Any, output: Any) -> Iterator[None]:
    """Inside, calling the module gives this output."""
    # An attribute of the instance hides the method of its class, and is taken away again.
    module.forward = lambda *_, **__: output
    try:
        yield
    finally:
        del module.forward
