"""What people type: one file a command, the dashboard's server and page, and the doctor."""
