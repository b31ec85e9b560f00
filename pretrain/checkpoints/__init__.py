"""What a run leaves on the disk to go on from, and how it is written whole or not at all."""
