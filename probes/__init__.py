"""What a trained encoder knows. Takes any transformers folder; knows nothing of training.

To add a probe: one file (or folder) with a PROBE, one line in PROBES.
"""

from probes.fill import PROBE as FILL
from probes.minimal_pairs import PROBE as MINIMAL_PAIRS
from probes.probe import Probe
from probes.probe_error import ProbeError
from probes.speed import PROBE as SPEED

PROBES: dict[str, Probe] = {
    "minimal_pairs": MINIMAL_PAIRS,
    "fill": FILL,
    "speed": SPEED,
}

__all__ = ["PROBES", "Probe", "ProbeError"]
