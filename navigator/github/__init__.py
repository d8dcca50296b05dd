"""Talks to GitHub: comments, statuses, artifacts, releases. The only code that knows GitHub; judges no result."""
