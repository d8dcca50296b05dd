"""GitHub's artifact service: what a workflow run keeps."""
