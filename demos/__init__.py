"""Small readable programs on top of the Python API."""
