"""The synthetic country: invented people whose records fill every screen and test the store."""
