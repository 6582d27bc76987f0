"""Ablation studies: the TOML files that define them, and what is computed for them."""
