"""The commands of ``python -m footpass``, by theme; each module adds its own to the parser."""
