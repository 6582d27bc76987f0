"""Executes one run: fit, score, measure, record."""
