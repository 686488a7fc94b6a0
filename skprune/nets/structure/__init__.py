"""How the layers of a module hang together."""
