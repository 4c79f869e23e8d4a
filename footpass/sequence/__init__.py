"""DST: from windows of a half's logits to its events, written as a sequence."""
