"""The report: one HTML page made from the records alone. Imports ``results`` only, never torch."""
