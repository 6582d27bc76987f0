"""The training loop: schedules of the learning rate, checkpoints to resume from, data on the device."""
