"""Results as text: tables, lines, graphs and JSON. Data to data; nothing here prints."""
