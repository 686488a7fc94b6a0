"""Trees as arrays, and what is computed from them; numpy and scipy only."""
