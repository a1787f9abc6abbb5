"""Scores of leave-one-subject-out predictions, their intervals and comparisons."""
