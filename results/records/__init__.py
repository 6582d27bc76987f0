"""Records of runs: their fields, the store that writes and reads them, and the merging of two stores."""
