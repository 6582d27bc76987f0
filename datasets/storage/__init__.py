"""Files that no crash, full disk or second writer spoils."""
