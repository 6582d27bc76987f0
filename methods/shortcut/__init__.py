"""Plain reconstruction networks: an MLP, a CNN and a transformer."""
