"""Tensors without files: models, local training, updates and the strategies that combine them."""
