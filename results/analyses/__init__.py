"""Analyses of the rows: comparisons, costs, curves and cases, beyond mean and standard deviation."""
