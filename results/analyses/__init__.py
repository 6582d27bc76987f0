"""What is computed from the rows beyond mean and standard deviation."""
