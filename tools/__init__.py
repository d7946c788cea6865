"""What authors and maintainers run in a clone: set-up, the course from its sources, the sample of the digits."""
