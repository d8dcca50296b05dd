"""Workers: the fork server, its parent-side pool and what a child does. Owns processes; decides no verdict."""
