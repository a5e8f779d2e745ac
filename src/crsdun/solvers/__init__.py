"""How a measurement becomes a cube without learning."""
