"""How networks learn: losses."""
