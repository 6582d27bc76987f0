"""UniAD (You et al., NeurIPS 2022)."""
