"""The ground: bytes, names, seeds, keys, errors and events. It imports nothing of fedkit that stands above it."""
