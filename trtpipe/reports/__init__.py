"""Reports of builds and cells: records of plain data, and those records as JSON, JUnit XML, Markdown and HTML.

Data to data: knows neither files nor plans. Every text in a record may come from a model, a spec or a damaged file, so
that whoever renders one escapes it.
"""
