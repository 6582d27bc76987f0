"""Decides what to run: from options to configurations, runs and their ids."""
