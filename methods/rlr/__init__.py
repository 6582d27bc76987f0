"""RLR (He et al., ECCV 2024)."""
