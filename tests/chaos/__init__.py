"""``make chaos``: a real loop that is killed, cut off and starved at random points, and must come to the same end."""
