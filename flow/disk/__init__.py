"""Files that are whole or absent, folders with one writer."""
