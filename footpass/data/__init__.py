"""What the official files hold: tactical rows, halves, videos, logits, and what is wrong with them."""
