"""One suite for each page of docs/hosts."""
