"""Training: the recipe, the loop and every command around it."""
