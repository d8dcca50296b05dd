"""Workers of this interpreter: a fork server a framework, one child a task."""
