"""Writes docs/numpy_functions.md."""

from every_function.page import PAGE, page

PAGE.write_text(page(), encoding="utf-8")
