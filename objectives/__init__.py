"""What the encoder is asked: how an example is cut, corrupted and scored."""

from pydantic import BaseModel

from objectives.mlm import MlmSettings
from objectives.mlm_nsp import MlmNspSettings
from objectives.mlm_sop import MlmSopSettings
from objectives.replaced_token_detection import ReplacedTokenDetectionSettings

OBJECTIVES: dict[str, type[BaseModel]] = {
    "mlm": MlmSettings,
    "mlm_nsp": MlmNspSettings,
    "mlm_sop": MlmSopSettings,
    "replaced_token_detection": ReplacedTokenDetectionSettings,
}
