"""Parts that several baselines are built from."""
