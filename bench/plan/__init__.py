"""Decides what to run: options, configurations, runs and their ids."""
