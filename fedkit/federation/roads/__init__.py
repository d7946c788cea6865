"""The same project on other engines: one module a road, whose packages are imported only where it is taken."""
