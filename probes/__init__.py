"""What a trained encoder knows. Takes any transformers folder; knows nothing of training.

To add a probe: one file with a PROBE, one line in PROBES.
"""

from probes import senses
from probes.probe import Probe, ProbeError

PROBES: dict[str, Probe] = {
    "senses": senses.PROBE,
}

__all__ = ["PROBES", "Probe", "ProbeError"]
