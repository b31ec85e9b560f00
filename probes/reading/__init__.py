"""Readers of what a probe is asked about, one form a file; probes.usages and probes.reading.pairs choose among them."""
