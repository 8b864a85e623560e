"""Seconds, memory and counted operations, from one region to many scans."""
