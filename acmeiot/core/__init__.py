"""The rules of this CA: who may have which name, and how an order becomes a certificate."""
