"""crsdun among the tools that people already use: one module for each, imported by those who have it."""
