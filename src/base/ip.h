/* IP addresses as text, without a port. */
#ifndef BASE_IP_H
#define BASE_IP_H

#include "peal/peal.h"

#define IP_V4_SIZE 4
#define IP_V6_SIZE 16

/*
 * Reads "192.0.2.1" or "2001:db8::1" (RFC 4291, 2.2; no zone). Returns the size
 * of what it wrote, in network order: IP_V4_SIZE or IP_V6_SIZE; 0 when it is no
 * address.
 */
size_t ip_parse(uint8_t out[IP_V6_SIZE], struct peal_slice text);

#endif
