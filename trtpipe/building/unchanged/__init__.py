"""What a command need not look at again: files as they were seen, settled pipelines, and their share of the reports."""
