"""Schedules found by trial, function by function, where they measure faster."""
