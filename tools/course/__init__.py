"""The authors' workshop: one text file a lesson becomes two editions of a notebook, held against the rules of a lesson."""
