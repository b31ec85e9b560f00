"""What a trained encoder knows. Takes any transformers folder; knows nothing of training.

To add a probe: one file (or folder) with a PROBE, one line in PROBES.
"""

from probes.probe import Probe
from probes.probe_error import ProbeError
from probes.static import PROBE as STATIC

PROBES: dict[str, Probe] = {
    "static": STATIC,
}

__all__ = ["PROBES", "Probe", "ProbeError"]
