"""Detectors for the unified setting, and the packages that all detectors use."""
