"""TAAD and TAAD + GNN: from clips of video to logits of every player, and from logits to events."""
