"""What people look at: plots of a movie, a page of a session, lists for other programs. Made from records only."""
