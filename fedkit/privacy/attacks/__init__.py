"""What an update gives away: attacks on nothing but the files that crossed the wire."""
