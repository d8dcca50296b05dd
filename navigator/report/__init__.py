"""Reports: built from results, summarized, stored, and merged from shards."""
