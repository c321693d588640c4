"""Every run of `edgeml bench`, kept in one SQLite file."""
