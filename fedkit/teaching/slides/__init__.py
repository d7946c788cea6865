"""A lesson as slides: `deck` cuts an executed notebook into slides, `notes` gives them the teacher's, `page` writes one
self-contained file by nbconvert's reveal exporter, `reveal` finds the script that moves them."""

from fedkit.teaching.slides.page import slides

__all__ = ["slides"]
