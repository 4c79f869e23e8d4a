"""Synthetic matches in the official format, for everyone who does not have the gated data."""

FORMS = ("gsr", "mot", "kloppy")  # in which a match is written as a tracker would see it
