"""Getting archives: fetch, check, unpack."""
