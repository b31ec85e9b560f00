"""Many runs of one recipe, and what can be said of their differences."""
