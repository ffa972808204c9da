"""Pure rules of the reader: how a record is shown, a search is asked, versions are compared."""
