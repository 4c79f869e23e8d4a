"""Several models' events as one: fusion by rule, and learned re-scoring."""
