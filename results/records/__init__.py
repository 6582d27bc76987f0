"""Records of runs: their fields, the store that writes and reads them, merging of two stores."""
