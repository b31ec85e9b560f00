"""Two recipes against each other at equal wall-clock and at equal FLOPs, over several seeds."""
