"""The certificate authority itself: keys, profiles, roots, signing, CRL and OCSP. Knows no ACME."""
