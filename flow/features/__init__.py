"""Handcrafted features of a clip: LBP-TOP, Bi-WOOF, MDMO and what Sparse MDMO codes."""
