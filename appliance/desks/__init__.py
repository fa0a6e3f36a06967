"""The use cases by topic; each desk is an attribute of Services."""
