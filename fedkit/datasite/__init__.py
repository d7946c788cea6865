"""One folder and the person it belongs to: its paths, its rights, and the projects that lie in it."""
