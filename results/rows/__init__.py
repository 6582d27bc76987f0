"""Rows of the leaderboard: the runs of one method as mean and standard deviation over seeds, in each setting."""
