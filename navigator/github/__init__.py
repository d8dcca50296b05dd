"""What GitHub is told: comments, statuses, artifacts, releases. The only code that knows GitHub; judges no result."""
