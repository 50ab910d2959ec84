"""Numbers first, then their text, then their pictures."""
