"""The page of `humar-edge serve`: a live picture with a prompt field, in any browser."""
