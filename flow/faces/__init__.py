"""Where the face is in a frame, and what is cut out of it."""
