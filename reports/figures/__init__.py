"""Figures of the site, as inline SVG."""
