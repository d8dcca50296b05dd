"""The Docker action: its inputs, its commands, and the engine run beside it without its tokens."""
