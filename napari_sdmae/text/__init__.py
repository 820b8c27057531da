"""Text that people and programs write: files of text, names, tables, and what is printed of them."""
