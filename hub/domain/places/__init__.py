"""Places: the atlas of regions and neighbourhoods, and the geometry of cells."""
