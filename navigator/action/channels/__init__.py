"""One module a way to tell GitHub something. None raises for what GitHub answers: it warns."""
