"""Numbers printed in papers, with their sources."""
