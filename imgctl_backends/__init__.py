"""The plugins in the box: image, spa and slack. Each folder stands alone."""
