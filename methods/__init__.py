"""Detectors for the unified setting, and the rooms that all detectors share."""
