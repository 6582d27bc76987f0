"""Files of fitted detectors: those of this project and those that authors publish."""
