"""Exact metrics of anomaly detection: every distinct threshold, no sampling and no bins."""
