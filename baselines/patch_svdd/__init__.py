"""Patch-SVDD (Yi & Yoon, ACCV 2020)."""
