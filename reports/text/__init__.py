"""Sentences that the site is written in."""
