"""What a trained encoder knows. Takes any transformers folder; knows nothing of training.

To add a probe: one file (or folder) with a PROBE, one line in PROBES.
"""

from probes.neighbors import PROBE as NEIGHBORS
from probes.probe import Probe
from probes.probe_error import ProbeError
from probes.wic import PROBE as WIC

PROBES: dict[str, Probe] = {
    "neighbors": NEIGHBORS,
    "wic": WIC,
}

__all__ = ["PROBES", "Probe", "ProbeError"]
