"""Modules of all systems and their losses: tensors in, tensors out, neither disk nor network."""
