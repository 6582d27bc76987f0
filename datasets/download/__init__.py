"""Fetches archives of datasets, checks them and unpacks them."""
