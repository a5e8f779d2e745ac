"""A measurement file in, a folder of results out."""
