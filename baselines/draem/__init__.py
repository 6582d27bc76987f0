"""DRAEM (Zavrtanik et al., ICCV 2021)."""
