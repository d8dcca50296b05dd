"""What GitHub is told: comments, statuses, artifacts, releases. The only code that knows GitHub; it judges no result."""
