"""The declarations, by kind; `catalogue` has all of them."""
