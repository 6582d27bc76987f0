"""How the synthetic dataset is drawn: a canvas, marks that damage leaves, one module per product."""
