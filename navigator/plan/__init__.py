"""What a run will do, before it does anything: the matrix, the routes, where each step runs. Pure."""
