"""Batch experiments: many runs of notebooks, or of `simulate`, as one table. Lesson 11 builds one.

A spec says which runs (`spec`) of what (`targets`); each has a name made from all that decides its result. `sweep`
runs what is not done yet, in kernels (`notebooks`) or in `workers`; what was found becomes tables (`table`, `summary`).
"""
