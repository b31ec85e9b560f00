"""The processes of a run: how they meet, add up, hear signals and part."""
