"""Frozen features, which are computed once, stored in a bank and read in batches."""
