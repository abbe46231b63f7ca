"""What came or was imagined after one observation: one class for dreams and reality, so that they can be compared."""
