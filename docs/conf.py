"""Sphinx configuration: `sphinx-build docs docs/_build/html`."""

import os
from importlib.metadata import version as installed

os.environ.setdefault("MPLBACKEND", "Agg")

project = "skprune"
author = "The skprune developers"
version = release = installed("skprune")
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "Prune trees and nets inside scikit-learn"}

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's sections tell the types
# each public method stands in its class; a page a method would hide the class behind its members
numpydoc_show_class_members = False
# docstrings inherited from scikit-learn refer to sections of its own guide
suppress_warnings = ["ref.ref"]

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "doc_module": "skprune",
    "within_subsection_order": "ExampleTitleSortKey",
    "download_all_examples": False,
    "show_signature": False,
    "abort_on_example_error": True,
    "copyfile_regex": r".*\.rst",
}
