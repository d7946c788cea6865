"""The tests stand as the package stands: `tests/learning/test_models.py` is about `fedkit/learning/models.py`."""
