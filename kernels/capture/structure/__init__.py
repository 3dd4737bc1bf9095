"""Structure among the values of a tensor, which indexing and masks need: recognised, and made anew."""
