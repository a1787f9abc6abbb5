"""A model that travels: files that run without this project."""
