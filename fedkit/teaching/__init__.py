"""What makes it a course: pictures, panels, checks of exercises, failures on purpose. Nothing below knows of lessons."""
