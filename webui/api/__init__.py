"""The programs' side of the web page: everything below `/api/v1`."""
