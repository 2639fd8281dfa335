"""Who is asking, and what they may do: tokens, keys and rules."""
