/* postgres/connect_rules.c - the pure decisions behind session_open. */
#include "postgres/connect_internal.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_loopback(const char *address)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (inet_pton(AF_INET, address, &v4) == 1)
		return (ntohl(v4.s_addr) >> 24) == 127;
	return inet_pton(AF_INET6, address, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool connect_is_local(const char *host, const char *hostaddr)
{
	if (hostaddr != NULL && hostaddr[0] != '\0')
		return is_loopback(hostaddr);
	if (host == NULL || host[0] == '\0') /* libpq's default is its socket directory */
		return true;
	return host[0] == '/' || host[0] == '@' || strcasecmp(host, "localhost") == 0 ||
	       is_loopback(host);
}

const char *connect_sslmode(const char *effective, bool in_conninfo, const char *host,
			    const char *hostaddr)
{
	if (effective != NULL && effective[0] != '\0' && strcmp(effective, "prefer") != 0)
		return effective;
	if (in_conninfo || connect_is_local(host, hostaddr))
		return effective != NULL && effective[0] != '\0' ? effective : "prefer";
	return "verify-full";
}

unsigned connect_timeout_s(unsigned wish, const char *effective)
{
	char *end = NULL;
	long value;

	if (wish != 0)
		return wish;
	if (effective == NULL || effective[0] == '\0')
		return 10;
	value = strtol(effective, &end, 10);
	if (*end != '\0')
		return 10;
	if (value <= 0) /* libpq: no limit */
		return 0;
	if (value < 2) /* libpq: less is not reliable */
		return 2;
	return value > 86400 ? 86400 : (unsigned)value;
}

size_t connect_list_len(const char *list)
{
	size_t n = 1;

	if (list == NULL || list[0] == '\0')
		return 0;
	for (; *list != '\0'; list++)
		n += *list == ',';
	return n;
}

void connect_list_element(const char *list, size_t i, char out[CONNECT_ELEMENT_MAX])
{
	size_t n = connect_list_len(list);
	size_t len;

	out[0] = '\0';
	if (n == 0 || (i >= n && n != 1))
		return;
	for (size_t skip = n == 1 ? 0 : i; skip > 0; skip--)
		list += strcspn(list, ",") + 1;
	len = strcspn(list, ",");
	if (len >= CONNECT_ELEMENT_MAX)
		len = CONNECT_ELEMENT_MAX - 1;
	memcpy(out, list, len);
	out[len] = '\0';
}

bool connect_may_hold_password(const char *conninfo)
{
	return strcasestr(conninfo, "pass") != NULL ||
	       (strstr(conninfo, "://") != NULL && strchr(conninfo, '@') != NULL);
}
