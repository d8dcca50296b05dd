"""Workers in containers of a framework, one container a task."""
