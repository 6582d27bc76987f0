"""The report: HTML pages, tables and figures made from the records alone. Nothing in here imports torch."""
