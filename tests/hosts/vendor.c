/* A host that uses the vendor interface as the header describes it: vendor MODULE SLOT, then one command a line. */
#include <datakey_pkcs11.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct interface { char *name; void *functions; unsigned long flags; };
typedef unsigned long (*get_interface_t)(const char *, void *, struct interface **, unsigned long);
typedef unsigned long (*initialize_t)(void *);

static void statistics(const DATAKEY_FUNCTION_LIST *datakey, unsigned long slot)
{
    DATAKEY_STATISTICS s;
    memset(&s, 0xff, sizeof s);
    unsigned long rv = datakey->DATAKEY_GetStatistics(slot, &s, sizeof s);
    printf("%lu hits %lu unwraps %lu failures %lu stale %lu evictions %lu calls %lu failed %lu not tried %lu requests %lu "
           "throttles %lu denials %lu unanswered %lu keys %lu latency %d\n",
           rv, s.ulCacheHits, s.ulUnwraps, s.ulUnwrapFailures, s.ulStaleUses, s.ulEvictions, s.ulKmsCalls, s.ulKmsFailures,
           s.ulKmsNotTried, s.ulKmsRequests, s.ulKmsThrottles, s.ulKmsDenials, s.ulKmsUnanswered, s.ulCachedKeys,
           s.ulLatency50 <= s.ulLatency90 && s.ulLatency90 <= s.ulLatency99);
}

int main(int count, char **arguments)
{
    void *library = count == 2 ? dlopen(arguments[1], RTLD_NOW) : NULL;
    struct interface *found = NULL;
    get_interface_t get_interface;
    initialize_t initialize;
    if (!library || !(*(void **)&get_interface = dlsym(library, "C_GetInterface")) ||
        !(*(void **)&initialize = dlsym(library, "C_Initialize")) ||
        get_interface(DATAKEY_INTERFACE, NULL, &found, 0) != 0)
        return 2;
    const DATAKEY_FUNCTION_LIST *datakey = found->functions;
    unsigned char text[4096];
    unsigned long length = sizeof text, rv;
    printf("%d.%d\n", datakey->major, datakey->minor);

    /* Before C_Initialize there is nothing. */
    rv = datakey->DATAKEY_FlushKeys(0);
    printf("%#lx %#lx %#lx\n", rv, datakey->DATAKEY_GetErrorText(0, text, &length),
           datakey->DATAKEY_GetStatistics(0, (DATAKEY_STATISTICS *)text, sizeof(DATAKEY_STATISTICS)));
    if (initialize(NULL) != 0)
        return 3;
    statistics(datakey, 0);

    /* A caller of another version, and wrong arguments. */
    DATAKEY_STATISTICS two[2];
    memset(two, 0xff, sizeof two);
    rv = datakey->DATAKEY_GetStatistics(0, two, sizeof(unsigned long));
    printf("%lu %d %d\n", rv, two[0].ulCacheHits == 0, two[0].ulUnwraps == ~0UL);
    rv = datakey->DATAKEY_GetStatistics(0, two, sizeof two);
    printf("%lu %d\n", rv, two[1].ulLatency99 == 0);
    printf("%#lx %#lx %#lx %#lx\n", datakey->DATAKEY_GetStatistics(0, NULL, sizeof *two),
           datakey->DATAKEY_GetStatistics(9, two, sizeof *two), datakey->DATAKEY_FlushKeys(9),
           datakey->DATAKEY_GetErrorText(12345, text, &length));
    rv = datakey->DATAKEY_GetErrorText(0, NULL, &length);
    printf("%lu %lu %#lx\n", rv, length, datakey->DATAKEY_GetErrorText(0, text, NULL));
    return 0;
}
