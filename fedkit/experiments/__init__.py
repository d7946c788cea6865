"""Batch experiments: many runs of one notebook, or of `simulate`, as one table. Lesson 11 builds one.

A spec says which runs (`spec`, `targets`); each has a name made from all that decides its result (`identity`); workers run
what is not done yet (`running`, `crew`, `trial`); what they found becomes tables (`table`).
"""
