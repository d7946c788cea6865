"""The playground without its widgets: settings, rounds one at a time, what is shown of each, and guided experiments."""
