/* A mount without hard links (LINK_ERR=errno) or fsync (FSYNC_ERR=errno, of files too with FSYNC_ALL), for LD_PRELOAD. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <dlfcn.h>
#include <unistd.h>
static int e(const char *n) { const char *v = getenv(n); return v ? atoi(v) : 0; }
int link(const char *a, const char *b) { if (e("LINK_ERR")) { errno = e("LINK_ERR"); return -1; } int (*f)(const char*, const char*) = dlsym(RTLD_NEXT, "link"); return f(a, b); }
int linkat(int x, const char *a, int y, const char *b, int z) { if (e("LINK_ERR")) { errno = e("LINK_ERR"); return -1; } int (*f)(int, const char*, int, const char*, int) = dlsym(RTLD_NEXT, "linkat"); return f(x, a, y, b, z); }
int fsync(int fd) { struct stat s; if (e("FSYNC_ERR") && fstat(fd, &s) == 0 && (S_ISDIR(s.st_mode) || e("FSYNC_ALL"))) { errno = e("FSYNC_ERR"); return -1; } int (*f)(int) = dlsym(RTLD_NEXT, "fsync"); return f(fd); }
int fdatasync(int fd) { if (e("FSYNC_ERR") && e("FSYNC_ALL")) { errno = e("FSYNC_ERR"); return -1; } int (*f)(int) = dlsym(RTLD_NEXT, "fdatasync"); return f(fd); }
