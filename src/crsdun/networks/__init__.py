"""How a measurement becomes a cube and a class map: the learnt methods."""
