"""Sphinx's settings. They are read beside the book's sources, in an environment that has neither fedkit nor torch."""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

FACTS = json.loads((HERE / "book.json").read_text(encoding="utf-8"))

project = "fedkit"
author = "The fedkit authors"
copyright = "The fedkit authors. Text and pictures CC BY-SA 4.0, code Apache-2.0"
version = release = FACTS["version"]
language = "en"
smartquotes = False  # a quote in JSON is a straight one

extensions = ["myst_nb", "sphinx.ext.mathjax", "fk_terms"]
exclude_patterns = ["files", "mathjax", "static"]
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # they come executed
nb_merge_streams = True
nb_output_stderr = "remove"  # progress bars of a run that is over
nb_ipywidgets_js = {}  # no page needs a script from elsewhere

nitpicky = True
# names of types in signatures, most of them torch's and Python's
nitpick_ignore_regex = [("py:.*", ".*")]
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

fk_terms = FACTS["terms"]

html_theme = "sphinx_book_theme"
html_title = "fedkit"
html_static_path = ["static", "mathjax"]
html_css_files = ["book.css"]
html_js_files = ["book.js"]
html_search_scorer = str(HERE / "static" / "scorer.js")
html_favicon = "static/favicon.svg"
html_copy_source = False
html_show_sourcelink = False
html_last_updated_fmt = None
mathjax_path = "es5/tex-chtml.js"
mathjax3_config = {"options": {"enableMenu": False}}  # its menu would load more scripts

html_context = {"default_mode": "auto"}
html_theme_options = {
    "navbar_start": [],
    "navbar_center": [],
    "navbar_end": [],
    "navbar_persistent": [],
    "logo": {"text": "fedkit"},
    "show_navbar_depth": 1,
    "max_navbar_depth": 2,
    "show_toc_level": 2,
    "use_download_button": False,  # each lesson has a link to the notebook to run
    "use_fullscreen_button": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
if FACTS["repository"]:
    html_theme_options |= {
        "repository_url": FACTS["repository"],
        "repository_branch": FACTS["branch"],
        "path_to_docs": "",
        "use_repository_button": True,
        "launch_buttons": {
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
            "notebook_interface": "jupyterlab",
        },
    }
