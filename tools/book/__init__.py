"""The book: the executed course, glossary, reference and protocol as pages to read; `python -m tools.book`.

`lessons` keeps executed copies by hash and makes pages of them, `reference` writes pages from docstrings and help texts,
`sources` puts all pages into one folder, `npm` fetches what a page needs at view time, `links` tests what was built.
Sphinx runs in an environment of its own (`tools/setup.py --book`), which needs neither fedkit nor torch.
"""
