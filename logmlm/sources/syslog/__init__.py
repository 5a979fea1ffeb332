"""Syslog over UDP, TCP and Unix sockets."""
