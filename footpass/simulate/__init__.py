"""Synthetic matches in the official format, for everyone who does not have the gated data."""
