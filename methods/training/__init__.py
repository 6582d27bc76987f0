"""The training loop, its learning-rate schedules, its checkpoints, and the training data on the device."""
