"""Many movies: which, in what order, and what happens at the same time."""
