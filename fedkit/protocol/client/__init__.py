"""The participant's side of a project, from the request to the last update."""
