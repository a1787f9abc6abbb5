"""Where micro-expressions are in long footage."""
