"""What the finished cells of a sweep allow to say: means, differences, the best, curves, and the answer in words."""
