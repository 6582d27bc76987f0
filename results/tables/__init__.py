"""Tables of the results, as data frames and as text."""
