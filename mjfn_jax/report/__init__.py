"""One page of finished runs, with its figures and tables."""
