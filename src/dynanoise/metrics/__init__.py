"""What a run is judged by: ROC, success at a threshold, MIDPUT, utility, intervals."""
