"""Sections of a page, as plain values that the templates draw."""
