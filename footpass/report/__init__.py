"""Pages: a notebook's record, the report of all, one match with its events."""
