"""Known answers for the page's JavaScript; see `tests.site.build_vectors`."""
