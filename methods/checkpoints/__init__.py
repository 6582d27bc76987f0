"""Files of fitted detectors: this project's own and those that authors published."""
