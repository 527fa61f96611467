"""Known answers for the page's JavaScript; see `tests.web.build_vectors`."""
