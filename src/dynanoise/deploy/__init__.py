"""The defense where models live: estimators, modules, graphs and servers."""
