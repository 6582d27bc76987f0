"""Sentences of the site."""
