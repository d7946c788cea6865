"""A pile of learners' notebooks becomes a table: who has which exercise right, in whose word, and why not.

Read as they lie, notebooks give their own word (`pile`, `own_word`). Run anew (`rerun`), what a notebook says of itself
counts for nothing: a learner's definitions run in a caged process (`learner`, `cage`), and the course's own checks, with
the course's own cells, judge from another one what comes out of it (`judge`). Only plain values cross (`wire`).
"""

from fedkit.teaching.grade.table import Grade, grade, write_grades

__all__ = ["Grade", "grade", "write_grades"]
