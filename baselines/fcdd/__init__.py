"""FCDD (Liznerski et al., ICLR 2021)."""
