"""Who is in which room of this node, and the one way by which anything reaches a member."""
