"""Steps that make a table of events better with the evidence of logits, and their search."""
