"""A recogniser that learnt from drawn motion: its training, its weights, its answers."""
