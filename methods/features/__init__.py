"""Frozen features: computed once, stored in a bank, read in batches."""
