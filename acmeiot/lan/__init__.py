"""What this network says of its hosts: tables, the LAN's resolver, multicast DNS, interfaces."""
