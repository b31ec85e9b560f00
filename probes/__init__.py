"""What a trained encoder knows. Takes any transformers folder; knows nothing of training.

To add a probe: one file (or folder) with a PROBE, one line in PROBES.
"""

from probes.classify import PROBE as CLASSIFY
from probes.probe import Probe
from probes.probe_error import ProbeError

PROBES: dict[str, Probe] = {
    "classify": CLASSIFY,
}

__all__ = ["PROBES", "Probe", "ProbeError"]
