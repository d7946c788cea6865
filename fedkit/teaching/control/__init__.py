"""What the buttons of a panel do, without any panel: drive the rounds, and look at how things stand."""
