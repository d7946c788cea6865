"""The playground without its widgets: settings, rounds one at a time, what is shown of each, and guided experiments."""

FOLDER = "FEDKIT_PLAYGROUND_DATA"
"""The environment variable by which `fedkit playground` names the folder of one's own data to its page."""
