"""Draws the images of the synthetic dataset: a canvas, marks of damage, one module per kind of product."""
