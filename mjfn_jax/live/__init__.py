"""A page on 127.0.0.1 that watches a camera or a file."""
