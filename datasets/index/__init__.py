"""Finds, opens and verifies datasets: the registry, the MVTec folder layout, problems and their report."""
