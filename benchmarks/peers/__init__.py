"""Tools of others that segment from points or a box, and how their settings were chosen."""
