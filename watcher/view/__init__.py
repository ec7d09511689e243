"""What is asked of a table besides its stream: rows by their number, and how it was before."""
