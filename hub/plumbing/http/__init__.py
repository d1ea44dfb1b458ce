"""HTTP as every door speaks it: deadlines, counted connections, health."""
