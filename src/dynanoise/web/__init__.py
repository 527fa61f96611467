"""The web page: static files, the data they show, and the server of `dynanoise demo`."""
