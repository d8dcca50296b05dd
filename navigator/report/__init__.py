"""convert_results.yaml: built from results, judged, stored, and merged from the parts of a run."""
