"""Data sets in RefHuman format: reading, transforms, synthetic scenes."""
