"""People: who they are, their devices, where they are as a cell, and who is calling."""
