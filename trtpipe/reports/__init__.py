"""Reports of builds and cells: records of plain data, and those records as JSON, JUnit XML, Markdown and HTML.

Pure functions, independent of files and plans. Any text in a record may come from a model, a spec or a damaged file, so
renderers must escape it.
"""
