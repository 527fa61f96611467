"""Known answers, and the script that made those that are ours."""
