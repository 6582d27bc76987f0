"""Rows of the leaderboard: runs of one method in one setting as mean and standard deviation over seeds."""
