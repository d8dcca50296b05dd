"""What changed between the results of a base and those of a run. Pure, but for reading the base's results."""
