"""A run: what it depends on, its folder, its folds, what it leaves."""
