"""Writes files that no crash, full disk or second writer can spoil."""
