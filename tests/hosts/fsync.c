/* Preloaded: says on standard error which directories are written to the disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int fsync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    char link[64], path[4096];
    struct stat about;
    ssize_t len;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof path);
    if (len > 0 && fstat(fd, &about) == 0 && S_ISDIR(about.st_mode))
        dprintf(2, "directory synced: %.*s\n", (int)len, path);
    return real(fd);
}
