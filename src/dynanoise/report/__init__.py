"""Records for people: tables, sentences, pictures, files."""
