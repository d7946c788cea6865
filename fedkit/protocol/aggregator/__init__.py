"""The aggregator's side of a project, from the launch to the last global model."""
