"""Measurement, statistics, results and reports."""
