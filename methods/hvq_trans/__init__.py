"""HVQ-Trans (Lu et al., NeurIPS 2023)."""
