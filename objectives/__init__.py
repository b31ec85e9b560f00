"""What the encoder is asked: how an example is cut, corrupted and scored."""

from pydantic import BaseModel

from objectives.mlm import MlmSettings
from objectives.mlm_nsp import MlmNspSettings

OBJECTIVES: dict[str, type[BaseModel]] = {
    "mlm": MlmSettings,
    "mlm_nsp": MlmNspSettings,
}
