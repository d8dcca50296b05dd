"""Plans a run before anything runs: the matrix, the routes, and where each step runs. Pure."""
